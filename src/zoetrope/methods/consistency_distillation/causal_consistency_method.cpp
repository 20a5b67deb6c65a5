#include "zoetrope/methods/consistency_distillation/causal_consistency_method.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/methods/distribution_matching/unconditional_policy.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {
namespace {

constexpr const char* kTeacher = "teacher";
constexpr const char* kAveragedRole = "ema";
constexpr const char* kMethod = "consistency distillation";

}  // namespace

void CausalConsistencyConfig::describe(config::Schema<CausalConsistencyConfig>& schema) {
  schema.field("guidance_scale", &CausalConsistencyConfig::guidance_scale,
               "Guidance of the teacher: unconditional + scale (conditional - unconditional).");
  schema.field("discrete_cd_N", &CausalConsistencyConfig::discrete_cd_N,
               "Noise levels between noise and data; neighbours are made consistent.",
               config::at_least(2));
  schema.field("ema_decay", &CausalConsistencyConfig::ema_decay,
               "Share of the old average that each step keeps.", config::between(0, 1));
  schema.field("ema_start_step", &CausalConsistencyConfig::ema_start_step,
               "First step after which the average follows the student.", config::at_least(0));
}

void CausalConsistencyConfig::check_run(const config::Node& node, const config::RunFacts& run,
                                        const config::ReadContext& context) const {
  check_has_latents(run, node, context);
  for (const char* role : {kTeacher, kAveragedRole})
    check_blocks_of_student(role, run, node, context);
}

CausalConsistencyDistillationMethod::CausalConsistencyDistillationMethod(
    const CausalConsistencyConfig& config, MethodContext method_context)
    : TrainingMethod(std::move(method_context)),
      config_(config),
      causal_student_(require_causal(student(), "student", kMethod)),
      teacher_(require_causal(roles().require(kTeacher, false, kMethod), kTeacher, kMethod)),
      averaged_(
          require_causal(roles().require(kAveragedRole, false, kMethod), kAveragedRole, kMethod)),
      optimizer_("student", student(), context().optimizer, context().max_train_steps),
      average_(student().parameters(), config.ema_decay),
      schedule_(make_self_forcing_schedule(
          context().flow_shift, student().noise_schedule().device(), config.discrete_cd_N)) {
  require_positive_learning_rate(context().optimizer, kMethod);
  require_blocks_of_student(causal_student_, teacher_, kTeacher);
  require_blocks_of_student(causal_student_, averaged_, kAveragedRole);
  if (student().exports_adapters()) {
    fail<ConfigError>(
        "models.student.lora: must be off for {}, which averages the whole network, but the "
        "student trains adapters",
        kMethod);
  }
  copy_shards(averaged_.parameters().shards(), average_.shards());
}

config::MethodWork CausalConsistencyDistillationMethod::work(const CausalConsistencyConfig& config,
                                                             int64_t /*num_latent_frames*/) {
  using Kind = config::NetworkPasses::Kind;
  return {.passes = {{.role = "student",
                      .purpose = "loss",
                      .kind = Kind::kTeacherForced,
                      .differentiable = true},
                     {.role = kTeacher,
                      .purpose = "flow",
                      .kind = Kind::kTeacherForced,
                      .rows = config.guidance_scale == 1.0 ? 1 : 2},
                     {.role = kAveragedRole, .purpose = "target", .kind = Kind::kTeacherForced}},
          .averaged_roles = {kAveragedRole}};
}

void CausalConsistencyDistillationMethod::on_train_start() {
  if (config_.guidance_scale != 1.0) student().encode_negative_prompt();
}

at::Tensor CausalConsistencyDistillationMethod::guided_velocity(const TrainingBatch& batch,
                                                                const at::Tensor& noisy_BTCHW,
                                                                const at::Tensor& timestep_BT) {
  const at::Tensor& clean = batch.latents_BTCHW;
  const UnconditionalPolicyConfig policy;
  if (config_.guidance_scale == 1.0 || !has_unconditional(policy, batch.conditional)) {
    return teacher_.predict_noise_teacher_forced(noisy_BTCHW, timestep_BT, batch.conditional, clean)
        .to(at::kFloat);
  }
  const auto twice = [](const at::Tensor& rows) { return at::cat({rows, rows}); };
  const Conditioning both =
      concatenate_rows(batch.conditional, unconditional_conditioning(policy, batch));
  const std::vector<at::Tensor> velocities =
      teacher_
          .predict_noise_teacher_forced(twice(noisy_BTCHW), twice(timestep_BT), both, twice(clean))
          .to(at::kFloat)
          .chunk(2);
  return velocities[1] + config_.guidance_scale * (velocities[0] - velocities[1]);
}

at::Tensor CausalConsistencyDistillationMethod::teacher_step(const TrainingBatch& batch,
                                                             const at::Tensor& noisy_BTCHW,
                                                             const at::Tensor& timestep_BT,
                                                             const at::Tensor& sigma_step) {
  at::NoGradGuard no_grad;
  return noisy_BTCHW - sigma_step * guided_velocity(batch, noisy_BTCHW, timestep_BT);
}

StepOutput CausalConsistencyDistillationMethod::single_train_step(const Batch& raw,
                                                                  const StepIndex& /*index*/) {
  const TrainingBatch batch = student().prepare_batch(raw, LatentsSource::kData);
  const at::Tensor& clean = batch.latents_BTCHW;
  const at::Tensor index = context()
                               .random
                               ->integers({"consistency.timestep", {batch.sample_indices.front()}},
                                          0, schedule_.size() - 1, {1})
                               .to(clean.device(), /*non_blocking=*/true);
  const at::Tensor noise =
      context()
          .random->normal({"consistency.noise", batch.sample_indices}, clean.sizes())
          .to(clean.device(), /*non_blocking=*/true);
  const auto at_entry = [&](const at::Tensor& entry) {
    const at::Tensor sigma = schedule_.sigmas().index_select(0, entry);
    const at::Tensor timestep_BT =
        schedule_.timesteps().index_select(0, entry).expand({clean.size(0), clean.size(1)});
    return std::pair(sigma, timestep_BT);
  };
  const auto [sigma, timestep_BT] = at_entry(index);
  const auto [next_sigma, next_timestep_BT] = at_entry(index + 1);
  const at::Tensor noisy = (1.0 - sigma) * clean + sigma * noise;
  const at::Tensor next_noisy = teacher_step(batch, noisy, timestep_BT, sigma - next_sigma);
  const auto predict_clean = [&](CausalModelBase& model, const at::Tensor& input,
                                 const at::Tensor& input_timestep_BT,
                                 const at::Tensor& input_sigma) {
    const at::Tensor velocity =
        model.predict_noise_teacher_forced(input, input_timestep_BT, batch.conditional, clean);
    return input - input_sigma * velocity.to(at::kFloat);
  };
  const at::Tensor predicted = predict_clean(causal_student_, noisy, timestep_BT, sigma);
  at::Tensor target;
  {
    at::NoGradGuard no_grad;
    target = predict_clean(averaged_, next_noisy, next_timestep_BT, next_sigma);
  }
  const at::Tensor loss = at::mse_loss(predicted, target);
  const at::Tensor logged = loss.detach();
  return {{{"total_loss", logged}, {"causal_cd_loss", logged}},
          {},
          {{&student(), loss}},
          student().num_tokens(clean.sizes())};
}

void CausalConsistencyDistillationMethod::on_optimizer_step_end(int64_t step) {
  if (step < config_.ema_start_step) return;
  average_.update();
  on_averaged_roles_restored();
}

std::vector<RoleOptimizer*> CausalConsistencyDistillationMethod::optimizers(int64_t /*step*/) {
  return {&optimizer_};
}

std::vector<std::pair<std::string, TensorShards>>
CausalConsistencyDistillationMethod::averaged_roles() const {
  return {{kAveragedRole, average_.shards()}};
}

void CausalConsistencyDistillationMethod::on_averaged_roles_restored() {
  copy_shards(average_.shards(), averaged_.parameters().shards());
}

}  // namespace zoetrope
