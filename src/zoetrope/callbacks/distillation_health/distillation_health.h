// Watches a distilled student: are its clips still alive and varied, does the critic follow, do
// updates have a sensible size. Knows no concrete method: it reads what methods put into
// StepOutput. Source: Yin et al. 2024 (DMD2, arXiv 2405.14867, section 4.2: a critic that does not
// follow the student makes training unstable); the limits are ours (docs/distillation_health.md).
#pragma once

#include <optional>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/callbacks/distillation_health/collapse_detector.h"
#include "zoetrope/callbacks/distillation_health/latent_statistics.h"
#include "zoetrope/callbacks/distillation_health/recent_latents.h"
#include "zoetrope/callbacks/distillation_health/running_means.h"
#include "zoetrope/callbacks/distillation_health/update_probe.h"
#include "zoetrope/config/schema.h"

namespace zoetrope {

struct DistillationHealthConfig {
  int64_t every_steps = 10;
  std::string on_alarm = "log";
  double collapse_ratio = 0.2;
  int64_t num_checks = 3;
  int64_t warmup_steps = 200;
  bool log_channels = false;
  static void describe(config::Schema<DistillationHealthConfig>& schema);
};

/// Gathers numbers on the device at every step and reads them every `every_steps`, in one copy.
/// Logs `health/...` and raises an alarm when a number has been beyond its limit at `num_checks`
/// checks in a row:
/// - `motion`, `contrast` (static, solid frames) and `diversity` (of recent clips) below
///   `collapse_ratio` of the reference's; `noise_diversity` (same prompts, other noise) below that
///   share of the reference's diversity. The reference is the data's latents, or what the teacher
///   makes of the student's where there are none;
/// - `colour_shift` above 3 reference spreads, `saturation` above 4: healthy clips stay below 1 and
///   near 1;
/// - `critic_error` above 1: a critic that predicts nothing has 1;
/// - `dmd_gradient_norm` at 0: the student is given no direction;
/// - `update_to_weight/<role>` at 0: the optimizer changes nothing.
/// All ranks judge the means over all of them, so that an alarm stops them together.
/// A ratio of 0.2 leaves room for students that move less than the data, and is far above what a
/// collapsed one has.
/// With `on_alarm: stop` an alarm ends the run by TrainingError, before the step is saved.
class DistillationHealth : public Callback {
 public:
  DistillationHealth(const DistillationHealthConfig& config, const CallbackContext& context);
  void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) override;
  void on_training_step_end(RunState& run) override;
  /// What this rank gathered since the last check, its recent clips, and the detector's history.
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state, RunState& run) override;

 private:
  void gather(const RunState& run);
  void check(RunState& run);
  void report(RunState& run, const std::vector<std::string>& complaints);

  DistillationHealthConfig config_;
  std::shared_ptr<Group> ranks_;
  RunningMeans means_;
  std::vector<double> last_reference_;  ///< latent_statistics; empty before the first
  RecentLatents generated_;
  RecentLatents reference_;
  std::map<std::string, UpdateProbe> probes_;  ///< of the update that is under way, by role
  CollapseDetector detector_;
  int64_t num_complaints_ = 0;  ///< of the last check
};

}  // namespace zoetrope
