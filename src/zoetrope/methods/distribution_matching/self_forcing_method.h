// Self-Forcing: distribution matching of a causal student that generates its clips block by block
// from its own earlier output, as it will at inference. Source: Huang et al. 2025 (arXiv
// 2506.08009, algorithm 1); FastVideo methods/distribution_matching/self_forcing.py.
#pragma once

#include "zoetrope/methods/distribution_matching/dmd2_method.h"
#include "zoetrope/models/causal_model.h"

namespace zoetrope {

struct SelfForcingConfig : Dmd2Config {
  int64_t chunk_size = 3;
  std::string student_sample_type = "sde";
  bool same_step_across_blocks = false;
  bool last_step_only = false;
  double context_noise = 0.0;
  bool enable_gradient_in_rollout = true;
  int64_t start_gradient_frame = 0;
  static void describe(config::Schema<SelfForcingConfig>& schema);

  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
  /// Adds an issue when nothing has a gradient in clips of `num_frames`.
  void check_start_gradient_frame(int64_t num_frames, const config::Node& node,
                                  const config::ReadContext& context) const;
};

class SelfForcingMethod : public Dmd2Method {
 public:
  /// Throws ConfigError as Dmd2Method does, and when the student is not causal or its blocks are of
  /// another size.
  SelfForcingMethod(const SelfForcingConfig& config, MethodContext context);

  static config::MethodWork work(const SelfForcingConfig& config, int64_t num_latent_frames);
  std::optional<FewStepRollout> few_step_rollout() override;

 protected:
  /// Gradient flows through the last denoising step of each block alone; what a block sees of the
  /// blocks before it is constant.
  at::Tensor rollout(const TrainingBatch& batch, const StepIndex& index, Rollout which,
                     bool with_grad) override;
  const FlowMatchSchedule& schedule() override { return schedule_; }

  /// The passes of a rollout of `num_frames`, of which `num_stored` are stored for later blocks.
  static std::vector<config::NetworkPasses> rollout_passes(const SelfForcingConfig& config,
                                                           int64_t num_frames, int64_t num_stored,
                                                           bool with_grad);

  /// Of the student's cache in rollouts.
  static constexpr const char* kCacheTag = "self_forcing";

  CausalModelBase& causal_student() const { return causal_student_; }
  /// The denoising step at which each block ends, on the CPU.
  std::vector<int64_t> draw_exit_steps(const std::string& purpose, const StepIndex& index,
                                       size_t num_blocks) const;
  /// The clean latents of one block of `batch`, from noise [B, size, C, H, W].
  at::Tensor denoise_block(const TrainingBatch& batch, const FrameBlock& block,
                           const at::Tensor& noise, const std::string& purpose, int64_t exit_step,
                           bool with_grad);
  /// Lets the blocks of `batch` that come after it see this one, as noisy as `context_noise` says.
  void store_context(const TrainingBatch& batch, const FrameBlock& block, const at::Tensor& clean,
                     const std::string& purpose);
  /// The same with noise in any case: with `context_noise` 0 that of the schedule's least level.
  void store_noised_context(const TrainingBatch& batch, const FrameBlock& block,
                            const at::Tensor& clean, const std::string& purpose);

 private:
  at::Tensor next_input(const TrainingBatch& batch, const at::Tensor& noisy,
                        const at::Tensor& clean, const std::string& purpose, size_t step);
  at::Tensor draw_block_noise(const TrainingBatch& batch, const at::Tensor& like,
                              const std::string& purpose);
  void commit(const TrainingBatch& batch, const FrameBlock& block,
              const at::Tensor& context_latents, const at::Tensor& timestep);

  SelfForcingConfig config_;
  CausalModelBase& causal_student_;
  FlowMatchSchedule schedule_;
};

}  // namespace zoetrope
