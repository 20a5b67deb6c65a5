// Distribution matching distillation: a student that samples in few steps learns from the
// difference between a frozen teacher's score and that of a critic, which follows the student's own
// samples. Source: Yin et al. 2024 (DMD, arXiv 2311.18828, equations 3-7; DMD2, arXiv 2405.14867);
// FastVideo methods/distribution_matching/dmd2.py.
#pragma once

#include <optional>

#include "zoetrope/config/network_passes.h"
#include "zoetrope/methods/distribution_matching/dmd2_config.h"
#include "zoetrope/methods/method.h"

namespace zoetrope {

class Dmd2Method : public TrainingMethod {
 public:
  /// Needs the roles student and critic (trained) and teacher (frozen). Throws ConfigError
  /// otherwise, and when a learning rate is not positive.
  Dmd2Method(const Dmd2Config& config, MethodContext context);

  static config::MethodWork work(const Dmd2Config& config, int64_t num_latent_frames);

  void on_train_start() override;
  /// Losses `total_loss`, `generator_loss` (0 unless the student is updated), `fake_score_loss`;
  /// metric `update_student`. Tensors, each where there is one: the student's clips
  /// `generated_latents`, `dmd_gradient`, `critic_latents`; `resampled_latents`, which are the
  /// critic's clips where they differ from the student's in noise alone; `reference_latents`, which
  /// are the data's, or else what the teacher made of the student's clips.
  StepOutput single_train_step(const Batch& raw, const StepIndex& index) override;
  std::vector<RoleOptimizer*> optimizers(int64_t step) override;
  std::vector<RoleOptimizer*> role_optimizers() override { return {&student_optimizer_, &critic_}; }
  std::optional<FewStepRollout> few_step_rollout() override;

 protected:
  /// Which of the two independent rollouts of a step is meant; names its draws.
  enum class Rollout { kStudent, kCritic };

  /// What the student generated, as both losses see it.
  struct GeneratedClips {
    const TrainingBatch& batch;  ///< their conditions and samples, of as many frames
    at::Tensor latents_BTCHW;
    std::string purpose = "dmd";  ///< begins the names of the draws
    at::Tensor mask_BT111 = {};   ///< bool, the frames that are learned from; undefined: all
  };

  /// Clean latents [B, T, C, H, W] that the student generates; with a graph when `with_grad`.
  virtual at::Tensor rollout(const TrainingBatch& batch, const StepIndex& index, Rollout which,
                             bool with_grad);
  /// The table for noising generated latents and for converting predictions.
  virtual const FlowMatchSchedule& schedule() { return student().noise_schedule(); }
  /// The timesteps [B], fp32, at which scores are compared. One for the whole batch.
  virtual at::Tensor draw_score_timesteps(const TrainingBatch& batch, const std::string& purpose);
  /// What the difference of both scores is divided by, given how far the generated latents are from
  /// the teacher's; broadcasts over BTCHW. The mean distance of the batch.
  virtual at::Tensor score_scale(const at::Tensor& distance_BTCHW) const;

  bool updates_student(int64_t step) const;
  const std::vector<at::Tensor>& denoising_timesteps() const { return denoising_timesteps_; }
  void set_denoising_timesteps(std::vector<at::Tensor> timesteps) {
    denoising_timesteps_ = std::move(timesteps);
  }
  /// The clean latents that `model` predicts from `noisy`, by schedule().
  at::Tensor predict_clean(ModelBase& model, const at::Tensor& noisy_BTCHW,
                           const at::Tensor& timestep, const Conditioning& conditioning);
  at::Tensor draw_noise(const TrainingBatch& batch, const std::string& purpose);
  /// One micro-batch: the student's rollout and loss where it is updated, the critic's own rollout
  /// and loss.
  StepOutput train_on(const TrainingBatch& batch, const StepIndex& index);
  /// Adds the distribution matching loss of clips that have a graph, and its tensors.
  void add_generator_loss(const GeneratedClips& clips, StepOutput& output);
  /// Adds the critic's flow-matching loss and its tensors.
  void add_critic_loss(const GeneratedClips& clips, StepOutput& output);
  /// Completes losses and metrics of a step that has both losses, or the critic's alone.
  void add_totals(const TrainingBatch& batch, bool student_updated, StepOutput& output);

  /// The passes of both losses, given those of the student's rollouts.
  static config::MethodWork work_with(const Dmd2Config& config,
                                      const std::vector<config::NetworkPasses>& student_rollout,
                                      const std::vector<config::NetworkPasses>& critic_rollout);

 private:
  /// Generated latents, noised at a drawn timestep.
  struct ScoreInput {
    at::Tensor timestep_B;
    at::Tensor noise_BTCHW;
    at::Tensor noisy_BTCHW;
  };

  at::Tensor rollout_from_data(const TrainingBatch& batch, const std::string& purpose,
                               int64_t target);
  at::Tensor rollout_from_noise(const TrainingBatch& batch, const std::string& purpose,
                                int64_t target, bool with_grad);
  ScoreInput noise_generated(const GeneratedClips& clips, const std::string& purpose);
  at::Tensor guided_teacher_clean(const ScoreInput& input, const TrainingBatch& batch);
  /// What the student learns from, and the guided teacher's clean latents that it came from.
  struct Matching {
    /// The gradient of the distribution matching loss with respect to the generated latents, times
    /// their number of elements.
    at::Tensor gradient_BTCHW;
    at::Tensor teacher_clean_BTCHW;
  };
  Matching match_distributions(const GeneratedClips& clips);

  Dmd2Config config_;
  ModelBase& teacher_;
  RoleOptimizer student_optimizer_;
  RoleOptimizer critic_;
  std::vector<at::Tensor> denoising_timesteps_;  ///< fp32 [1] each
};

}  // namespace zoetrope
