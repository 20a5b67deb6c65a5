#include "zoetrope/methods/distribution_matching/dmd2_method.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/diffusion/timestep_sampling.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {
namespace {

OptimizerConfig critic_optimizer(const Dmd2Config& config, OptimizerConfig shared) {
  shared.learning_rate = config.fake_score_learning_rate;
  shared.betas = config.fake_score_betas;
  shared.lr_scheduler = config.fake_score_lr_scheduler;
  return shared;
}

at::Tensor masked_mean(const at::Tensor& values_BTCHW, const at::Tensor& mask_BT111) {
  if (!mask_BT111.defined()) return values_BTCHW.mean();
  const at::Tensor mask = mask_BT111.to(values_BTCHW.scalar_type()).expand_as(values_BTCHW);
  return (values_BTCHW * mask).sum() / mask.sum().clamp_min(1.0);
}

at::Tensor squared_error(const at::Tensor& a, const at::Tensor& b) {
  return at::mse_loss(a, b, at::Reduction::None);
}

}  // namespace

Dmd2Method::Dmd2Method(const Dmd2Config& config, MethodContext method_context)
    : TrainingMethod(std::move(method_context)),
      config_(config),
      teacher_(roles().require("teacher", false, "distribution matching")),
      student_optimizer_("student", student(), context().optimizer, context().max_train_steps),
      critic_("critic", roles().require("critic", true, "distribution matching"),
              critic_optimizer(config, context().optimizer), context().max_train_steps),
      denoising_timesteps_(
          zoetrope::denoising_timesteps(config.dmd_denoising_steps, config.warp_denoising_step,
                                        student().noise_schedule(), "method.dmd_denoising_steps")) {
  require_positive_learning_rate(context().optimizer, "distribution matching");
}

config::MethodWork Dmd2Method::work(const Dmd2Config& config, int64_t /*num_latent_frames*/) {
  // The step at which a rollout ends is uniform in [0, S).
  const double mean_exit_step =
      config.simulates() ? (static_cast<double>(config.dmd_denoising_steps.size()) - 1) / 2 : 0.0;
  const config::NetworkPasses undirected{
      .role = "student", .purpose = "rollout", .num_passes = mean_exit_step};
  const config::NetworkPasses last{
      .role = "student", .purpose = "rollout's last pass", .differentiable = true};
  const config::NetworkPasses for_critic{
      .role = "student", .purpose = "rollout for the critic", .num_passes = mean_exit_step + 1};
  return work_with(config, {undirected, last}, {for_critic});
}

config::MethodWork Dmd2Method::work_with(const Dmd2Config& config,
                                         const std::vector<config::NetworkPasses>& student_rollout,
                                         const std::vector<config::NetworkPasses>& critic_rollout) {
  const int64_t interval = std::max<int64_t>(config.generator_update_interval, 1);
  config::MethodWork work;
  work.passes = student_rollout;
  const std::optional<int64_t> num_frames = student_rollout.front().num_frames;
  work.passes.push_back({.role = "critic", .purpose = "score", .num_frames = num_frames});
  work.passes.push_back({.role = "teacher",
                         .purpose = "score",
                         .rows = config.real_score_guidance_scale == 1.0 ? 1 : 2,
                         .num_frames = num_frames});
  for (config::NetworkPasses& passes : work.passes) passes.every_steps = interval;
  work.passes.insert(work.passes.end(), critic_rollout.begin(), critic_rollout.end());
  work.passes.push_back(
      {.role = "critic", .purpose = "loss", .differentiable = true, .num_frames = num_frames});
  return work;
}

void Dmd2Method::on_train_start() {
  const bool guided = config_.real_score_guidance_scale != 1.0;
  if (guided && needs_negative_prompt(config_.cfg_uncond)) student().encode_negative_prompt();
}

std::optional<FewStepRollout> Dmd2Method::few_step_rollout() {
  return FewStepRollout{.schedule = schedule(),
                        .timesteps = denoising_timesteps_,
                        .warped = config_.warp_denoising_step};
}

bool Dmd2Method::updates_student(int64_t step) const {
  const int64_t interval = config_.generator_update_interval;
  return interval <= 0 || step % interval == 0;
}

std::vector<RoleOptimizer*> Dmd2Method::optimizers(int64_t step) {
  if (updates_student(step)) return {&student_optimizer_, &critic_};
  return {&critic_};
}

at::Tensor Dmd2Method::predict_clean(ModelBase& model, const at::Tensor& noisy_BTCHW,
                                     const at::Tensor& timestep, const Conditioning& conditioning) {
  const at::Tensor velocity = model.predict_noise(noisy_BTCHW, timestep, conditioning);
  return velocity_to_clean(velocity.to(at::kFloat), noisy_BTCHW, schedule().sigma_at(timestep));
}

at::Tensor Dmd2Method::draw_noise(const TrainingBatch& batch, const std::string& purpose) {
  return context()
      .random->normal({purpose, batch.sample_indices}, batch.latents_BTCHW.sizes())
      .to(batch.latents_BTCHW.device(), /*non_blocking=*/true);
}

at::Tensor Dmd2Method::rollout(const TrainingBatch& batch, const StepIndex& index, Rollout which,
                               bool with_grad) {
  const std::string purpose = which == Rollout::kStudent ? "dmd.student" : "dmd.critic";
  const auto num_steps = static_cast<int64_t>(denoising_timesteps_.size());
  // The same on every rank, so that all of them call the network equally often.
  const auto target =
      context()
          .random->integers({purpose + ".target_step", {}, index.decision()}, 0, num_steps, {1})
          .item<int64_t>();
  const at::AutoGradMode grad_mode(with_grad);
  return config_.simulates() ? rollout_from_noise(batch, purpose, target, with_grad)
                             : rollout_from_data(batch, purpose, target);
}

at::Tensor Dmd2Method::rollout_from_data(const TrainingBatch& batch, const std::string& purpose,
                                         int64_t target) {
  const at::Tensor timestep_B =
      denoising_timesteps_[static_cast<size_t>(target)].expand({batch.batch_size()});
  const at::Tensor noisy =
      schedule().add_noise(batch.latents_BTCHW, draw_noise(batch, purpose + ".noise"), timestep_B);
  return predict_clean(student(), noisy, timestep_B, batch.conditional);
}

at::Tensor Dmd2Method::rollout_from_noise(const TrainingBatch& batch, const std::string& purpose,
                                          int64_t target, bool with_grad) {
  // As many draws whatever the target, as in the reference; but only the forwards that are used.
  std::vector<at::Tensor> noises;
  for (size_t i = 0; i < denoising_timesteps_.size(); ++i)
    noises.push_back(draw_noise(batch, fmt::format("{}.noise.{}", purpose, i)));
  at::Tensor noisy = noises.front();
  for (int64_t i = 0;; ++i) {
    const auto step = static_cast<size_t>(i);
    const at::Tensor timestep_B = denoising_timesteps_[step].expand({batch.batch_size()});
    const at::AutoGradMode grad_mode(with_grad && i == target);
    at::Tensor clean = predict_clean(student(), noisy, timestep_B, batch.conditional);
    if (i == target) return clean;
    noisy = schedule().add_noise(clean, noises[step + 1], denoising_timesteps_[step + 1]);
  }
}

at::Tensor Dmd2Method::draw_score_timesteps(const TrainingBatch& batch,
                                            const std::string& purpose) {
  const at::Tensor drawn =
      context()
          .random->integers({purpose, {batch.sample_indices.front()}}, 0, kNumTrainTimesteps, {1})
          .to(batch.latents_BTCHW.device(), /*non_blocking=*/true);
  const double last = static_cast<double>(kNumTrainTimesteps);
  return shift_and_clamp_timesteps(drawn, context().flow_shift,
                                   std::floor(config_.min_timestep_ratio * last),
                                   std::floor(config_.max_timestep_ratio * last))
      .expand({batch.batch_size()});
}

at::Tensor Dmd2Method::score_scale(const at::Tensor& distance_BTCHW) const {
  return distance_BTCHW.mean();
}

Dmd2Method::ScoreInput Dmd2Method::noise_generated(const GeneratedClips& clips,
                                                   const std::string& purpose) {
  ScoreInput input;
  input.timestep_B = draw_score_timesteps(clips.batch, purpose + ".timestep");
  input.noise_BTCHW = draw_noise(clips.batch, purpose + ".noise");
  input.noisy_BTCHW =
      schedule().add_noise(clips.latents_BTCHW.detach(), input.noise_BTCHW, input.timestep_B);
  return input;
}

at::Tensor Dmd2Method::guided_teacher_clean(const ScoreInput& input, const TrainingBatch& batch) {
  const double scale = config_.real_score_guidance_scale;
  if (scale == 1.0 || !has_unconditional(config_.cfg_uncond, batch.conditional))
    return predict_clean(teacher_, input.noisy_BTCHW, input.timestep_B, batch.conditional);
  const at::Tensor both = predict_clean(
      teacher_, at::cat({input.noisy_BTCHW, input.noisy_BTCHW}),
      at::cat({input.timestep_B, input.timestep_B}),
      concatenate_rows(batch.conditional, unconditional_conditioning(config_.cfg_uncond, batch)));
  const std::vector<at::Tensor> halves = both.chunk(2);
  return halves[1] + (halves[0] - halves[1]) * scale;
}

Dmd2Method::Matching Dmd2Method::match_distributions(const GeneratedClips& clips) {
  at::NoGradGuard no_grad;
  const at::Tensor generated = clips.latents_BTCHW.detach();
  const ScoreInput input = noise_generated(clips, clips.purpose + ".score");
  const at::Tensor fake =
      predict_clean(critic_.model(), input.noisy_BTCHW, input.timestep_B, clips.batch.conditional);
  const at::Tensor real = guided_teacher_clean(input, clips.batch);
  return {((fake - real) / score_scale((generated - real).abs())).nan_to_num(), real};
}

void Dmd2Method::add_generator_loss(const GeneratedClips& clips, StepOutput& output) {
  const at::Tensor& generated = clips.latents_BTCHW;
  const auto [gradient, teacher_clean] = match_distributions(clips);
  const at::Tensor loss = masked_mean(
      0.5 * squared_error(generated, (generated - gradient).detach()), clips.mask_BT111);
  output.objectives.emplace_back(&student(), loss);
  output.losses.emplace_back("generator_loss", loss.detach());
  output.tensors.emplace_back("generated_latents", generated.detach());
  output.tensors.emplace_back("dmd_gradient", gradient);
  if (!clips.batch.data_latents_BTCHW.defined())
    output.tensors.emplace_back("reference_latents", teacher_clean);
}

void Dmd2Method::add_critic_loss(const GeneratedClips& clips, StepOutput& output) {
  const at::Tensor generated = clips.latents_BTCHW.detach();
  const ScoreInput input = noise_generated(clips, clips.purpose + ".critic_score");
  const at::Tensor velocity =
      critic_.model()
          .predict_noise(input.noisy_BTCHW, input.timestep_B, clips.batch.conditional)
          .to(at::kFloat);
  const at::Tensor loss =
      masked_mean(squared_error(velocity, input.noise_BTCHW - generated), clips.mask_BT111);
  output.objectives.emplace_back(&critic_.model(), loss);
  output.losses.emplace_back("fake_score_loss", loss.detach());
  output.tensors.emplace_back("critic_latents", generated);
}

void Dmd2Method::add_totals(const TrainingBatch& batch, bool student_updated, StepOutput& output) {
  if (!student_updated) {
    output.losses.insert(output.losses.begin(),
                         {"generator_loss", at::zeros({}, batch.latents_BTCHW.options())});
  }
  const at::Tensor total_loss = output.losses[0].second + output.losses[1].second;
  output.losses.insert(output.losses.begin(), {"total_loss", total_loss});
  if (batch.data_latents_BTCHW.defined())
    output.tensors.emplace_back("reference_latents", batch.data_latents_BTCHW);
  output.metrics.emplace_back("update_student", student_updated ? 1.0 : 0.0);
  output.num_tokens = student().num_tokens(batch.latents_BTCHW.sizes());
}

StepOutput Dmd2Method::train_on(const TrainingBatch& batch, const StepIndex& index) {
  StepOutput output;
  const bool update = updates_student(index.step);
  if (update) add_generator_loss({batch, rollout(batch, index, Rollout::kStudent, true)}, output);
  const at::Tensor resampled = rollout(batch, index, Rollout::kCritic, false);
  add_critic_loss({batch, resampled}, output);
  if (config_.simulates()) output.tensors.emplace_back("resampled_latents", resampled);
  add_totals(batch, update, output);
  return output;
}

StepOutput Dmd2Method::single_train_step(const Batch& raw, const StepIndex& index) {
  return train_on(student().prepare_batch(
                      raw, config_.simulates() ? LatentsSource::kZeros : LatentsSource::kData),
                  index);
}

}  // namespace zoetrope
