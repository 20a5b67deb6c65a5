#include "zoetrope/methods/fine_tuning/diffusion_forcing_method.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/timestep_sampling.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {

void DiffusionForcingConfig::describe(config::Schema<DiffusionForcingConfig>& schema) {
  schema.field("chunk_size", &DiffusionForcingConfig::chunk_size,
               "Latent frames that share a noise level; that of a causal model's blocks.",
               config::at_least(1));
  schema.field("min_timestep_ratio", &DiffusionForcingConfig::min_timestep_ratio,
               "First entry of the noise table that is drawn, as a share of it; 0 is pure noise.",
               config::between(0, 1));
  schema.field("max_timestep_ratio", &DiffusionForcingConfig::max_timestep_ratio,
               "Last entry of the noise table that is drawn, as a share of it; 1 is clean.",
               config::between(0, 1));
  schema.check([](const DiffusionForcingConfig& method, const config::Node& node,
                  const config::ReadContext& context) {
    check_timestep_range(method.min_timestep_ratio, method.max_timestep_ratio, node, context);
  });
}

void DiffusionForcingConfig::check_run(const config::Node& node, const config::RunFacts& run,
                                       const config::ReadContext& context) const {
  check_has_latents(run, node, context);
  check_block_size("chunk_size", chunk_size, run, node, context);
}

DiffusionForcingSftMethod::DiffusionForcingSftMethod(const DiffusionForcingConfig& config,
                                                     MethodContext method_context)
    : TrainingMethod(std::move(method_context)),
      config_(config),
      optimizer_("student", student(), context().optimizer, context().max_train_steps) {
  require_positive_learning_rate(context().optimizer, "diffusion forcing");
  require_block_size(student(), config.chunk_size);
  const FlowMatchSchedule& schedule = student().noise_schedule();
  weights_N_ =
      gaussian_timestep_weights(at::arange(schedule.size(), at::kFloat)).to(schedule.device());
}

at::Tensor DiffusionForcingSftMethod::draw_table_indices_BT(const TrainingBatch& batch) {
  const int64_t num_entries = student().noise_schedule().size();
  const auto bound = [&](double ratio) {
    return std::min(static_cast<int64_t>(ratio * static_cast<double>(num_entries)),
                    num_entries - 1);
  };
  const int64_t first = bound(config_.min_timestep_ratio);
  int64_t last = bound(config_.max_timestep_ratio);
  if (last <= first) last = std::min(num_entries - 1, first + 1);
  const int64_t num_frames = batch.latents_BTCHW.size(1);
  const int64_t num_chunks = (num_frames + config_.chunk_size - 1) / config_.chunk_size;
  const at::Tensor index_BK =
      context().random->integers({"diffusion_forcing.timestep", batch.sample_indices}, first,
                                 last + 1, {batch.batch_size(), num_chunks});
  return index_BK.repeat_interleave(config_.chunk_size, 1)
      .narrow(1, 0, num_frames)
      .to(batch.latents_BTCHW.device(), /*non_blocking=*/true);
}

at::Tensor DiffusionForcingSftMethod::predict(const TrainingBatch& batch,
                                              const at::Tensor& noisy_BTCHW,
                                              const at::Tensor& timestep_BT) {
  return student().predict_noise(noisy_BTCHW, timestep_BT, batch.conditional);
}

config::MethodWork DiffusionForcingSftMethod::work(const DiffusionForcingConfig& /*config*/,
                                                   int64_t /*num_latent_frames*/) {
  return {.passes = {{.role = "student", .purpose = "loss", .differentiable = true}}};
}

config::MethodWork TeacherForcingSftMethod::work(const DiffusionForcingConfig& config,
                                                 int64_t num_latent_frames) {
  config::MethodWork work = DiffusionForcingSftMethod::work(config, num_latent_frames);
  work.passes.front().kind = config::NetworkPasses::Kind::kTeacherForced;
  return work;
}

StepOutput DiffusionForcingSftMethod::single_train_step(const Batch& raw,
                                                        const StepIndex& /*index*/) {
  const TrainingBatch batch = student().prepare_batch(raw, LatentsSource::kData);
  const FlowMatchSchedule& schedule = student().noise_schedule();
  const at::Tensor index_BT = draw_table_indices_BT(batch);
  const auto entries = [&](const at::Tensor& table_N) {
    return table_N.index_select(0, index_BT.flatten()).view_as(index_BT);
  };
  const at::Tensor timestep_BT = entries(schedule.timesteps());
  const at::Tensor noisy = schedule.add_noise(batch.latents_BTCHW, batch.noise_BTCHW, timestep_BT);
  const at::Tensor velocity = predict(batch, noisy, timestep_BT).to(at::kFloat);
  const at::Tensor error =
      context().precondition_outputs
          ? noisy - velocity * broadcast_rows(entries(schedule.sigmas()), velocity) -
                batch.latents_BTCHW
          : velocity - (batch.noise_BTCHW - batch.latents_BTCHW);
  const at::Tensor loss =
      (error.square().mean(at::IntArrayRef{2, 3, 4}) * entries(weights_N_)).mean();
  const at::Tensor logged = loss.detach();
  return {{{"total_loss", logged}, {"dfsft_loss", logged}},
          {},
          {{&student(), loss}},
          student().num_tokens(batch.latents_BTCHW.sizes())};
}

std::vector<RoleOptimizer*> DiffusionForcingSftMethod::optimizers(int64_t /*step*/) {
  return {&optimizer_};
}

TeacherForcingSftMethod::TeacherForcingSftMethod(const DiffusionForcingConfig& config,
                                                 MethodContext method_context)
    : DiffusionForcingSftMethod(config, std::move(method_context)),
      causal_student_(require_causal(student(), "student", "teacher forcing")) {}

at::Tensor TeacherForcingSftMethod::predict(const TrainingBatch& batch,
                                            const at::Tensor& noisy_BTCHW,
                                            const at::Tensor& timestep_BT) {
  return causal_student_.predict_noise_teacher_forced(noisy_BTCHW, timestep_BT, batch.conditional,
                                                      batch.latents_BTCHW);
}

}  // namespace zoetrope
