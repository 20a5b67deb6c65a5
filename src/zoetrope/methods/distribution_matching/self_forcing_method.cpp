#include "zoetrope/methods/distribution_matching/self_forcing_method.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {

void SelfForcingConfig::describe(config::Schema<SelfForcingConfig>& schema) {
  schema.inherit<Dmd2Config>();
  schema.field("chunk_size", &SelfForcingConfig::chunk_size,
               "Latent frames that are generated at once; that of the student's blocks.",
               config::at_least(1));
  schema.field("student_sample_type", &SelfForcingConfig::student_sample_type,
               "How a block goes from one denoising step to the next: with fresh noise (`sde`) or "
               "along the predicted flow (`ode`).",
               config::one_of({"sde", "ode"}));
  schema.field("same_step_across_blocks", &SelfForcingConfig::same_step_across_blocks,
               "Draw one last denoising step for all blocks of a clip instead of one for each.");
  schema.field("last_step_only", &SelfForcingConfig::last_step_only,
               "Always denoise to the last step.");
  schema.field("context_noise", &SelfForcingConfig::context_noise,
               "Timestep of the noise that is added to a finished block before later ones see it.",
               config::between(0, 1000));
  schema.field("enable_gradient_in_rollout", &SelfForcingConfig::enable_gradient_in_rollout,
               "Must be true: a student without a gradient learns nothing, and FastVideo's "
               "backward pass fails.");
  schema.field("start_gradient_frame", &SelfForcingConfig::start_gradient_frame,
               "First latent frame whose block has a gradient.", config::at_least(0));
  schema.check([](const SelfForcingConfig& method, const config::Node& node,
                  const config::ReadContext& context) {
    if (!method.enable_gradient_in_rollout) {
      refuse_key(node, "enable_gradient_in_rollout", context,
                 "must be true, since without it the student has nothing to learn from, but got "
                 "false");
    }
    if (method.rollout_mode.empty() || method.rollout_mode.starts_with("sim")) return;
    refuse(node, context,
           fmt::format("rollout_mode must be simulate for self-forcing, but got {}",
                       method.rollout_mode));
  });
}

void SelfForcingConfig::check_run(const config::Node& node, const config::RunFacts& run,
                                  const config::ReadContext& context) const {
  Dmd2Config::check_run(node, run, context);
  check_block_size("chunk_size", chunk_size, run, node, context);
  check_start_gradient_frame(run.num_latent_frames, node, context);
}

void SelfForcingConfig::check_start_gradient_frame(int64_t num_frames, const config::Node& node,
                                                   const config::ReadContext& context) const {
  const int64_t last = split_into_blocks(num_frames, chunk_size).back().first;
  if (start_gradient_frame <= last) return;
  refuse_key(node, "start_gradient_frame", context,
             fmt::format("must be at most {}, with which the last block of clips of {} latent "
                         "frames begins, since no other has a gradient, but got {}",
                         last, num_frames, start_gradient_frame));
}

SelfForcingMethod::SelfForcingMethod(const SelfForcingConfig& config, MethodContext method_context)
    : Dmd2Method(config, std::move(method_context)),
      config_(config),
      causal_student_(require_causal(student(), "student", "self-forcing")),
      schedule_(
          make_self_forcing_schedule(context().flow_shift, student().noise_schedule().device())) {
  require_block_size(student(), config.chunk_size);
  set_denoising_timesteps(zoetrope::denoising_timesteps(config.dmd_denoising_steps,
                                                        config.warp_denoising_step, schedule_,
                                                        "method.dmd_denoising_steps"));
}

std::vector<config::NetworkPasses> SelfForcingMethod::rollout_passes(
    const SelfForcingConfig& config, int64_t num_frames, int64_t num_stored, bool with_grad) {
  const auto num_steps = static_cast<double>(config.dmd_denoising_steps.size());
  const double mean_exit_step = config.last_step_only ? num_steps - 1 : (num_steps - 1) / 2;
  const config::NetworkPasses denoising{.role = "student",
                                        .purpose = "rollout",
                                        .kind = config::NetworkPasses::Kind::kBlocks,
                                        .num_passes = mean_exit_step + (with_grad ? 0 : 1),
                                        .block_frames = config.chunk_size,
                                        .num_frames = num_frames};
  config::NetworkPasses storing = denoising;
  storing.purpose = "storing of blocks";
  storing.num_passes = static_cast<double>(num_stored) / static_cast<double>(num_frames);
  if (!with_grad) return {denoising, storing};
  config::NetworkPasses last = denoising;
  last.purpose = "rollout's last passes";
  last.num_passes = 1;
  last.differentiable = true;
  return {denoising, last, storing};
}

config::MethodWork SelfForcingMethod::work(const SelfForcingConfig& config,
                                           int64_t num_latent_frames) {
  const int64_t last_block = (num_latent_frames - 1) % config.chunk_size + 1;
  const int64_t num_stored = num_latent_frames - last_block;
  return work_with(config,
                   rollout_passes(config, num_latent_frames, num_stored, /*with_grad=*/true),
                   rollout_passes(config, num_latent_frames, num_stored, /*with_grad=*/false));
}

std::optional<FewStepRollout> SelfForcingMethod::few_step_rollout() {
  return FewStepRollout{.schedule = schedule_,
                        .timesteps = denoising_timesteps(),
                        .transition = config_.student_sample_type == "sde"
                                          ? FewStepTransition::kSde
                                          : FewStepTransition::kOde,
                        .context_noise = config_.context_noise,
                        .warped = config_.warp_denoising_step};
}

std::vector<int64_t> SelfForcingMethod::draw_exit_steps(const std::string& purpose,
                                                        const StepIndex& index,
                                                        size_t num_blocks) const {
  const auto num_steps = static_cast<int64_t>(denoising_timesteps().size());
  if (config_.last_step_only) return std::vector<int64_t>(num_blocks, num_steps - 1);
  const auto num_draws = config_.same_step_across_blocks ? 1 : static_cast<int64_t>(num_blocks);
  // Keyed by the step and not by samples, so that all ranks call the network equally often.
  const at::Tensor drawn = context().random->integers(
      {purpose + ".exit_step", {}, index.decision()}, 0, num_steps, {num_draws});
  std::vector<int64_t> steps(num_blocks);
  for (size_t i = 0; i < num_blocks; ++i)
    steps[i] = drawn.const_data_ptr<int64_t>()[config_.same_step_across_blocks ? 0 : i];
  return steps;
}

at::Tensor SelfForcingMethod::draw_block_noise(const TrainingBatch& batch, const at::Tensor& like,
                                               const std::string& purpose) {
  return context()
      .random->normal({purpose, batch.sample_indices}, like.sizes())
      .to(like.device(), /*non_blocking=*/true);
}

at::Tensor SelfForcingMethod::rollout(const TrainingBatch& batch, const StepIndex& index,
                                      Rollout which, bool with_grad) {
  const std::string purpose =
      which == Rollout::kStudent ? "self_forcing.student" : "self_forcing.critic";
  const at::Tensor noise = draw_noise(batch, purpose + ".noise");
  const std::vector<FrameBlock> blocks = split_into_blocks(noise.size(1), config_.chunk_size);
  const std::vector<int64_t> exit_steps = draw_exit_steps(purpose, index, blocks.size());
  std::vector<at::Tensor> generated;
  causal_student_.clear_caches(kCacheTag);
  for (const FrameBlock& block : blocks) {
    const std::string block_purpose = fmt::format("{}.block{}", purpose, block.index);
    const bool block_has_grad = with_grad && block.first >= config_.start_gradient_frame;
    const at::Tensor clean =
        denoise_block(batch, block, noise.narrow(1, block.first, block.size), block_purpose,
                      exit_steps[static_cast<size_t>(block.index)], block_has_grad);
    generated.push_back(clean);
    store_context(batch, block, clean.detach(), block_purpose);
  }
  causal_student_.clear_caches(kCacheTag);
  return at::cat(generated, 1);
}

at::Tensor SelfForcingMethod::denoise_block(const TrainingBatch& batch, const FrameBlock& block,
                                            const at::Tensor& noise, const std::string& purpose,
                                            int64_t exit_step, bool with_grad) {
  StreamingOptions options;
  options.cache_tag = kCacheTag;
  options.cur_start_frame = block.first;
  at::Tensor noisy = noise;
  for (int64_t i = 0;; ++i) {
    const auto step = static_cast<size_t>(i);
    const at::Tensor timestep_BT =
        denoising_timesteps()[step].expand({batch.batch_size(), block.size});
    const at::AutoGradMode grad_mode(with_grad && i == exit_step);
    const at::Tensor velocity =
        causal_student_.predict_noise_streaming(noisy, timestep_BT, batch.conditional, options);
    at::Tensor clean =
        velocity_to_clean(velocity.to(at::kFloat), noisy, schedule_.sigma_at(timestep_BT));
    if (i == exit_step) return clean;
    noisy = next_input(batch, noisy, clean, fmt::format("{}.step{}", purpose, i + 1), step);
  }
}

at::Tensor SelfForcingMethod::next_input(const TrainingBatch& batch, const at::Tensor& noisy,
                                         const at::Tensor& clean, const std::string& purpose,
                                         size_t step) {
  const at::Tensor& next_timestep = denoising_timesteps()[step + 1];
  if (config_.student_sample_type == "sde")
    return schedule_.add_noise(clean, draw_block_noise(batch, clean, purpose), next_timestep);
  return next_input_along_flow(schedule_, {clean, noisy, denoising_timesteps()[step]},
                               next_timestep);
}

void SelfForcingMethod::store_context(const TrainingBatch& batch, const FrameBlock& block,
                                      const at::Tensor& clean, const std::string& purpose) {
  if (config_.context_noise > 0.0) return store_noised_context(batch, block, clean, purpose);
  commit(batch, block, clean, at::zeros({batch.batch_size(), block.size}, clean.options()));
}

void SelfForcingMethod::store_noised_context(const TrainingBatch& batch, const FrameBlock& block,
                                             const at::Tensor& clean, const std::string& purpose) {
  const at::Tensor timestep =
      at::full({batch.batch_size(), block.size}, config_.context_noise, clean.options());
  const at::Tensor noise = draw_block_noise(batch, clean, purpose + ".context");
  commit(batch, block, schedule_.add_noise(clean, noise, timestep), timestep);
}

void SelfForcingMethod::commit(const TrainingBatch& batch, const FrameBlock& block,
                               const at::Tensor& context_latents, const at::Tensor& timestep) {
  if (block.first + block.size == batch.latents_BTCHW.size(1)) return;  // nothing comes after it
  at::NoGradGuard no_grad;
  StreamingOptions options;
  options.cache_tag = kCacheTag;
  options.store_kv = true;
  options.cur_start_frame = block.first;
  causal_student_.predict_noise_streaming(context_latents, timestep, batch.conditional, options);
}

}  // namespace zoetrope
