// Compares a training run with a recorded one of the reference as it goes: gradient norms and
// gradients before clipping, weights and averages after every step, of every role that changes, and
// the method's intermediate results.
#pragma once

#include <set>
#include <string>

#include "support/golden.h"
#include "zoetrope/callbacks/callback.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope::test {

class TraceChecker : public Callback {
 public:
  /// Without `exact` nothing is compared. `implementation` is that of the student.
  TraceChecker(const GoldenCase& golden, bool exact, Implementation implementation)
      : golden_(golden), exact_(exact), implementation_(implementation) {}

  void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) override;
  void on_training_step_end(RunState& run) override;

  int num_compared() const { return num_compared_; }
  /// Of the losses, as far as the run has gone.
  double loss_tolerance() const;
  /// Of what networks take at `step`, and of what the method makes of what they give.
  double forward_tolerance(int64_t step) const;
  /// Of what they give.
  double velocity_tolerance(int64_t step) const;

 private:
  double parameter_tolerance() const;
  void check_gradients(RunState& run, OptimizerUpdate& update);
  void check_role(RunState& run, RoleOptimizer& optimizer);
  void check_weights(const std::string& prefix, const NamedTensors& tensors,
                     const std::string& role, int64_t step);
  void check_averaged_role(const RunState& run);
  void check_sums(const NamedTensors& weights, const nlohmann::json& recorded,
                  const std::string& role, int64_t step);
  void check_intermediates(const RunState& run);

  const GoldenCase& golden_;
  bool exact_;
  Implementation implementation_;
  std::set<std::string> noise_parameters_;  ///< `<role>.<parameter>`
  bool has_noise_elements_ = false;         ///< of other parameters
  double largest_learning_rate_ = 0.0;
  int num_compared_ = 0;
};

}  // namespace zoetrope::test
