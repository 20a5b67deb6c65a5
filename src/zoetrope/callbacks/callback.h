// Hooks of the training loop. A callback sees the method, the tracker and the step; the trainer
// knows no concrete callback. Source: the training architecture document's callbacks; FastVideo
// train/callbacks/callback.py.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "zoetrope/data/data_config.h"
#include "zoetrope/methods/method.h"
#include "zoetrope/optim/exponential_moving_average.h"
#include "zoetrope/tensor/state_dict.h"
#include "zoetrope/tracking/tracker.h"

namespace zoetrope {

/// What a callback is built from, beside its own config.
struct CallbackContext {
  std::filesystem::path output_dir;
  std::filesystem::path
      pipeline_folder;  ///< where validation finds VAE, text encoder and tokenizer
  at::Device device = at::kCPU;
  DataConfig data;          ///< training.data
  double flow_shift = 3.0;  ///< pipeline.flow_shift, or the pipeline folder's own
  std::shared_ptr<const Mesh> mesh = std::make_shared<Mesh>();
};

/// The run as callbacks see it. `step` is the number of finished optimizer steps.
struct RunState {
  TrainingMethod& method;
  Tracker& tracker;
  int64_t step = 0;
  /// The student's averaged weights, once they exist: set by the EMA callback, used by validation
  /// and by the export.
  ExponentialMovingAverage* average = nullptr;
  /// Losses of the step: means over its micro-batches on all ranks, fp64 scalars on the CPU.
  NamedTensors losses = {};
  /// What the method gave for the last micro-batch (StepOutput) of this rank, on the device.
  NamedTensors tensors = {};
};

/// One optimizer that is about to step. Callbacks may lower `gradient_scale` (clipping).
struct OptimizerUpdate {
  RoleOptimizer* optimizer = nullptr;
  double gradient_norm = 0.0;  ///< global L2 norm before clipping; finite
  double gradient_scale = 1.0;
};

class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_train_start(RunState& /*run*/) {}
  virtual void on_before_optimizer_step(RunState& /*run*/,
                                        std::vector<OptimizerUpdate>& /*updates*/) {}
  virtual void on_training_step_end(RunState& /*run*/) {}
  /// Called at the start (step 0) and after every step; validates when it is due.
  virtual void on_validation_begin(RunState& /*run*/) {}
  virtual void on_train_end(RunState& /*run*/) {}

  /// What a resumed run needs to go on as if it had not stopped.
  virtual StateDict state_dict() const { return {}; }
  /// Takes a state_dict of the same callback, before the first resumed step. Throws CheckpointError
  /// when it does not fit.
  virtual void load_state_dict(const StateDict& /*state*/, RunState& /*run*/) {}
};

/// The callbacks of a run, in the order of the config.
using NamedCallbacks = std::vector<std::pair<std::string, std::unique_ptr<Callback>>>;

}  // namespace zoetrope
