// Compares what a training run asked of its models with what the reference asked, call by call, in
// the order of each role: inputs, timesteps and outputs of every pass of a network, and the batches
// that were prepared.
#pragma once

#include <string>

#include "golden/training/observed_model.h"
#include "golden/training/recorded_calls.h"
#include "golden/training/trace_checker.h"

namespace zoetrope::test {

class CallChecker : public Callback {
 public:
  struct Options {
    /// Ours makes no unconditional pass when it is 1.
    double guidance_scale = 1.0;
    /// The reference prepares the batches of knowledge distillation from the trajectories'
    /// latents, which it normalises once more. Nothing reads them, as nothing reads those of
    /// methods without data: ours are zeros, the reference's are zeros normalised.
    bool compare_prepared_latents = true;
  };
  /// Must be called before `checker`, whose tolerances it takes.
  CallChecker(const GoldenCase& golden, const TraceChecker& checker, const Options& options)
      : golden_(golden), checker_(checker), options_(options) {}

  void on_train_start(RunState& run) override;
  void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) override;
  void on_training_step_end(RunState& run) override;

  /// Recorded passes that were compared, of all roles.
  int64_t num_passes() const { return num_passes_; }
  int64_t num_batches() const { return num_batches_; }

 private:
  void check_role(const std::string& role, const ModelLog& log, const RecordedCalls& recorded,
                  int64_t step);
  void check_call(const NetworkCall& call, const RecordedCall& recorded, int64_t step);
  void check_batches(const ModelLog& log, int64_t step);
  void check_batch(const TrainingBatch& batch, const nlohmann::json& prepared, int64_t step);

  const GoldenCase& golden_;
  const TraceChecker& checker_;
  Options options_;
  int64_t num_passes_ = 0;
  int64_t num_batches_ = 0;
};

}  // namespace zoetrope::test
