// A training method: owns the roles, computes losses, and says which optimizers step. Knows no
// concrete model, no file and no trainer. Source: the training architecture document's
// TrainingMethod; FastVideo train/methods/base.py.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "zoetrope/data/row_reader.h"
#include "zoetrope/diffusion/few_step.h"
#include "zoetrope/models/model.h"
#include "zoetrope/optim/adamw.h"
#include "zoetrope/optim/learning_rate_schedule.h"
#include "zoetrope/optim/optimizer_config.h"
#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

struct Mesh;

/// The role models of a run, in the order of the config.
class RoleModels {
 public:
  void add(std::string role, std::unique_ptr<ModelBase> model);
  /// Frees the role's model, if there is one.
  void remove(const std::string& role);
  bool contains(const std::string& role) const;
  /// Throws ConfigError naming the method when the role is missing or wrongly trainable.
  ModelBase& require(const std::string& role, bool trainable, const std::string& method) const;
  const std::vector<std::pair<std::string, std::unique_ptr<ModelBase>>>& all() const {
    return models_;
  }

 private:
  std::vector<std::pair<std::string, std::unique_ptr<ModelBase>>> models_;
};

/// What every method is built from.
struct MethodContext {
  RoleModels roles;
  OptimizerConfig optimizer;
  int64_t max_train_steps = 0;
  bool precondition_outputs =
      false;                      ///< training.model.precondition_outputs: the loss is taken in x0
  double flow_shift = 1.0;        ///< pipeline.flow_shift, or that of the student's pipeline folder
  int64_t num_latent_frames = 0;  ///< training.data.num_latent_t
  RandomSource* random = nullptr;  ///< borrowed
};

/// A trained role: its parameters, optimizer and learning-rate schedule. The schedule counts this
/// role's own updates.
class RoleOptimizer {
 public:
  RoleOptimizer(std::string role, ModelBase& model, const OptimizerConfig& config,
                int64_t max_train_steps);

  const std::string& role() const { return role_; }
  ModelBase& model() { return model_; }
  AdamW& adamw() { return adamw_; }
  const OptimizerConfig& config() const { return config_; }
  /// Of the next update.
  double learning_rate() const { return schedule_.learning_rate(num_updates()); }
  int64_t num_updates() const { return adamw_.num_steps(); }
  /// One AdamW step with the gradients scaled by `gradient_scale` (clipping), then the schedule
  /// advances.
  void step(double gradient_scale);

 private:
  std::string role_;
  ModelBase& model_;
  AdamW adamw_;
  OptimizerConfig config_;
  LearningRateSchedule schedule_;
};

/// Which micro-batch of the run is computed.
struct StepIndex {
  int64_t step = 1;        ///< optimizer step; the first is 1
  int64_t round = 0;       ///< micro-batch within the step
  int64_t num_rounds = 1;  ///< gradient accumulation

  /// Names the draws that decide which passes a micro-batch runs: the same for all micro-batches of
  /// a step, since ranks must run the same passes and share them in any number.
  int64_t decision() const { return step - 1; }
};

/// What one micro-batch gave. Tensors are scalars on the device; nothing is copied to the host
/// here.
struct StepOutput {
  std::vector<std::pair<std::string, at::Tensor>>
      losses;  ///< `total_loss` first; logged, averaged over accumulation
  std::vector<std::pair<std::string, double>> metrics;
  std::vector<std::pair<ModelBase*, at::Tensor>>
      objectives;          ///< what is backpropagated, and through which model
  int64_t num_tokens = 0;  ///< that the student processed
  /// Intermediate results by name (`generated_latents`, `dmd_gradient`), detached: for monitoring.
  NamedTensors tensors = {};
};

class TrainingMethod {
 public:
  explicit TrainingMethod(MethodContext context);
  virtual ~TrainingMethod() = default;

  ModelBase& student() { return *student_; }
  const RoleModels& roles() const { return context_.roles; }

  /// Called once before the first step.
  virtual void on_train_start() {}
  /// Called once after that, with the rows that will come: for what a method makes of the data
  /// before it trains, on all ranks. Ends early when a StopSignal comes.
  virtual void prepare_data(const RowReader& /*rows*/, const Mesh& /*mesh*/) {}
  /// Losses of one micro-batch.
  virtual StepOutput single_train_step(const Batch& raw, const StepIndex& index) = 0;
  /// Backpropagates every objective, divided by the accumulation rounds.
  virtual void backward(const StepOutput& output, int64_t num_accumulation_rounds);
  /// Called when the optimizers of `step` have stepped.
  virtual void on_optimizer_step_end(int64_t /*step*/) {}
  /// Frozen roles that the method itself averages, with what is kept here of their fp32 weights:
  /// views of the live state. Checkpoints hold them like trained roles.
  virtual std::vector<std::pair<std::string, TensorShards>> averaged_roles() const { return {}; }
  /// Called when a checkpoint was read into averaged_roles().
  virtual void on_averaged_roles_restored() {}
  /// What a resumed run needs, beside weights and optimizers, to go on as if it had not stopped.
  /// Asked for between two steps; tensors that the next step changes are copies.
  virtual StateDict state_dict() const { return {}; }
  /// Takes a state_dict of the same method, before the first resumed step. Throws CheckpointError
  /// when it does not fit.
  virtual void load_state_dict(const StateDict& /*state*/) {}
  /// The optimizers that step at `step`: those of every role that its objectives are for, since no
  /// gradient is kept for a later step.
  virtual std::vector<RoleOptimizer*> optimizers(int64_t step) = 0;
  /// How the student is to be sampled that this method trains for few steps; none otherwise.
  virtual std::optional<FewStepRollout> few_step_rollout() { return std::nullopt; }
  /// All optimizers of the method, one for each trained role; what checkpoints hold.
  virtual std::vector<RoleOptimizer*> role_optimizers() = 0;

 protected:
  const MethodContext& context() const { return context_; }
  /// Frees a frozen role that is not needed any more.
  void remove_role(const std::string& role) { context_.roles.remove(role); }

 private:
  MethodContext context_;
  ModelBase* student_;
};

}  // namespace zoetrope
