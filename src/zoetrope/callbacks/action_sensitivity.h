// Whether actions steer the student: the same noise sampled with two sequences of actions, and how
// far the two videos are from one another. Works with every model whose conditions have actions;
// knows no concrete one. Distances are those of latents, so that nothing is decoded.
#pragma once

#include <optional>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/callbacks/distillation_health/collapse_detector.h"
#include "zoetrope/config/schema.h"
#include "zoetrope/pipelines/wan_pipeline.h"

namespace zoetrope {

struct ActionSensitivityConfig {
  int64_t every_steps = 100;
  int64_t num_clips = 4;
  int64_t sampling_steps = 8;
  double min_sensitivity = 0.05;
  int64_t num_checks = 2;
  int64_t warmup_steps = 500;
  std::string on_alarm = "log";
  static void describe(config::Schema<ActionSensitivityConfig>& schema);
};

/// Samples the first clips of the training data three times, with the averaged weights once there
/// are any: with their own actions, with those of the clip before, and with other noise. Logs
/// `validation/action_distance` and `validation/noise_distance` (root mean square between the
/// latents) and their ratio `validation/action_sensitivity`, which does not depend on the scale of
/// the latents; `validation/action_alarm` is 1 when it has been below `min_sensitivity` for
/// `num_checks` checks in a row, after the first `warmup_steps` (earlier only when it was much
/// higher before). With `on_alarm: stop` an alarm ends the run by TrainingError.
class ActionSensitivity : public Callback {
 public:
  ActionSensitivity(const ActionSensitivityConfig& config, const CallbackContext& context);
  /// Throws ConfigError when the student has no actions, DataError when all clips have the same.
  void on_validation_begin(RunState& run) override;
  /// The detector's history.
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state, RunState& run) override;

 private:
  /// The conditions that are compared, of one row for each clip.
  struct Clips {
    Conditioning own;
    Conditioning other;    ///< with the actions of the clip before
    at::Tensor differs_B;  ///< bool: whether the two differ
    std::vector<int64_t> shape_BCTHW;
  };

  Clips read_clips(ModelBase& student) const;
  at::Tensor sample(ModelBase& student, const Conditioning& conditions,
                    const SamplingOptions& sampling, const std::string& noise_name) const;
  void report(RunState& run, const std::vector<std::string>& complaints) const;

  ActionSensitivityConfig config_;
  CallbackContext context_;
  CollapseDetector detector_;
  std::optional<Clips> clips_;  ///< read at the first check
};

}  // namespace zoetrope
