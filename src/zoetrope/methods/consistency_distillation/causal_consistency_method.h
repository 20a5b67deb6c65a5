// Causal consistency distillation: the student's clean prediction at one noise level is drawn to
// that of its own moving average one step of the teacher's flow further, each block seeing the
// clean frames before it. Source: Song et al. 2023 (consistency models, arXiv 2303.01469, algorithm
// 2); FastVideo methods/consistency_model/causal_cd.py.
#pragma once

#include "zoetrope/config/network_passes.h"
#include "zoetrope/config/run_facts.h"
#include "zoetrope/config/schema.h"
#include "zoetrope/methods/method.h"
#include "zoetrope/models/causal_model.h"
#include "zoetrope/optim/exponential_moving_average.h"

namespace zoetrope {

struct CausalConsistencyConfig {
  double guidance_scale = 3.0;
  int64_t discrete_cd_N = 48;
  double ema_decay = 0.99;
  int64_t ema_start_step = 200;
  static void describe(config::Schema<CausalConsistencyConfig>& schema);

  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
};

class CausalConsistencyDistillationMethod : public TrainingMethod {
 public:
  /// Needs the causal roles student (trained), teacher and ema (frozen), with blocks of one size.
  /// Throws ConfigError otherwise.
  CausalConsistencyDistillationMethod(const CausalConsistencyConfig& config, MethodContext context);

  static config::MethodWork work(const CausalConsistencyConfig& config, int64_t num_latent_frames);

  void on_train_start() override;
  /// Losses `total_loss` and `causal_cd_loss` (the same).
  StepOutput single_train_step(const Batch& raw, const StepIndex& index) override;
  void on_optimizer_step_end(int64_t step) override;
  std::vector<RoleOptimizer*> optimizers(int64_t step) override;
  std::vector<RoleOptimizer*> role_optimizers() override { return {&optimizer_}; }
  /// The average, as the role `ema`.
  std::vector<std::pair<std::string, TensorShards>> averaged_roles() const override;
  void on_averaged_roles_restored() override;

 private:
  /// The teacher's velocity; without guidance (scale 1) the negative prompt is not needed.
  at::Tensor guided_velocity(const TrainingBatch& batch, const at::Tensor& noisy_BTCHW,
                             const at::Tensor& timestep_BT);
  /// Latents one step of the guided teacher's flow further.
  at::Tensor teacher_step(const TrainingBatch& batch, const at::Tensor& noisy_BTCHW,
                          const at::Tensor& timestep_BT, const at::Tensor& sigma_step);

  CausalConsistencyConfig config_;
  CausalModelBase& causal_student_;
  CausalModelBase& teacher_;
  CausalModelBase& averaged_;
  RoleOptimizer optimizer_;
  ExponentialMovingAverage average_;  ///< fp32, of the role `ema`
  FlowMatchSchedule schedule_;
};

}  // namespace zoetrope
