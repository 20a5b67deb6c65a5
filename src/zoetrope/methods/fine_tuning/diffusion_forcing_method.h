// Diffusion forcing: fine-tuning in which every block of frames has a noise level of its own, so
// that a causal model learns to go on from frames of any quality; and teacher forcing, in which
// each block sees the clean frames before it. Source: Chen et al. 2024 (diffusion forcing, arXiv
// 2407.01392); FastVideo fine_tuning/dfsft.py, fine_tuning/tfsft.py.
#pragma once

#include "zoetrope/config/network_passes.h"
#include "zoetrope/config/run_facts.h"
#include "zoetrope/config/schema.h"
#include "zoetrope/methods/method.h"
#include "zoetrope/models/causal_model.h"

namespace zoetrope {

struct DiffusionForcingConfig {
  int64_t chunk_size = 3;
  double min_timestep_ratio = 0.0;
  double max_timestep_ratio = 1.0;
  static void describe(config::Schema<DiffusionForcingConfig>& schema);

  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
};

class DiffusionForcingSftMethod : public TrainingMethod {
 public:
  /// Throws ConfigError when the student is frozen, the learning rate is not positive, or a causal
  /// student has blocks of another size.
  DiffusionForcingSftMethod(const DiffusionForcingConfig& config, MethodContext context);

  static config::MethodWork work(const DiffusionForcingConfig& config, int64_t num_latent_frames);

  /// Losses `total_loss` and `dfsft_loss` (the same): the mean over frames of the weighted squared
  /// error.
  StepOutput single_train_step(const Batch& raw, const StepIndex& index) override;
  std::vector<RoleOptimizer*> optimizers(int64_t step) override;
  std::vector<RoleOptimizer*> role_optimizers() override { return {&optimizer_}; }

 protected:
  /// The student's velocity of frames with noise levels of their own; timestep [B, T].
  virtual at::Tensor predict(const TrainingBatch& batch, const at::Tensor& noisy_BTCHW,
                             const at::Tensor& timestep_BT);

 private:
  /// Entries of the student's table, int64 [B, T]: one draw a block.
  at::Tensor draw_table_indices_BT(const TrainingBatch& batch);

  DiffusionForcingConfig config_;
  RoleOptimizer optimizer_;
  at::Tensor weights_N_;  ///< fp32, by entry of the table
};

class TeacherForcingSftMethod : public DiffusionForcingSftMethod {
 public:
  /// Throws ConfigError as its base does, and when the student is not causal.
  TeacherForcingSftMethod(const DiffusionForcingConfig& config, MethodContext context);

  static config::MethodWork work(const DiffusionForcingConfig& config, int64_t num_latent_frames);

 protected:
  at::Tensor predict(const TrainingBatch& batch, const at::Tensor& noisy_BTCHW,
                     const at::Tensor& timestep_BT) override;

 private:
  CausalModelBase& causal_student_;
};

}  // namespace zoetrope
