// The training loop: batches, micro-steps, optimizer steps, callbacks. Knows no concrete model,
// method or callback. Source: the training architecture document's loop; FastVideo
// train/trainer.py.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/data/loader.h"
#include "zoetrope/methods/method.h"
#include "zoetrope/tracking/tracker.h"
#include "zoetrope/train/run_checkpoints.h"
#include "zoetrope/train/step_metrics.h"

namespace zoetrope {

class Trainer {
 public:
  struct Options {
    int64_t max_train_steps = 0;
    int64_t gradient_accumulation_steps = 1;
  };

  /// What a run is made of.
  struct Parts {
    TrainingMethod& method;
    DataLoader& loader;
    NamedCallbacks& callbacks;
    Tracker& tracker;
    RunCheckpoints& checkpoints;
    std::shared_ptr<const Mesh> mesh = std::make_shared<Mesh>();
  };

  /// Borrows everything; `callbacks` run in their order.
  Trainer(Options options, const Parts& parts);

  /// Goes on from the checkpoint that `checkpoints` found, if any, and runs to max_train_steps or,
  /// when a StopSignal came to any rank, to the end of the step and a checkpoint of it. Throws
  /// TrainingError, before the optimizer steps, when a loss or a gradient norm is not finite; the
  /// message names the step and its samples.
  void run();
  /// What the callbacks saw last: the step, and the averaged weights if there are any.
  const RunState& state() const { return state_; }

 private:
  /// What the micro-batches of one step on this rank gave.
  struct StepTotals {
    StepMetrics metrics;
    std::vector<std::string> sample_names;
    double data_wait_sec = 0.0;
    int64_t num_samples = 0;
    int64_t num_tokens = 0;
  };

  void train_step();
  StepTotals run_micro_batches();
  std::vector<OptimizerUpdate> measure_gradients(
      const std::vector<RoleOptimizer*>& optimizers) const;
  void check_finite(const std::vector<Metric>& losses, const std::vector<OptimizerUpdate>& updates,
                    const StepTotals& totals) const;
  void check_objectives(const StepOutput& output) const;
  void backward(const StepOutput& output, bool is_last);
  void log_step(std::vector<Metric> metrics, const StepTotals& totals, double step_sec);
  bool any_rank_stops() const;

  Options options_;
  TrainingMethod& method_;
  DataLoader& loader_;
  NamedCallbacks& callbacks_;
  RunCheckpoints& checkpoints_;
  std::shared_ptr<const Mesh> mesh_;
  double checkpoint_waited_sec_ = 0.0;  ///< up to the last logged step
  RunState state_;
};

}  // namespace zoetrope
