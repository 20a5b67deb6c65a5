#include "zoetrope/methods/fine_tuning/fine_tune_method.h"

#include <ATen/ATen.h>

#include "zoetrope/methods/requirements.h"

namespace zoetrope {

void FineTuneConfig::describe(config::Schema<FineTuneConfig>& /*schema*/) {}

void FineTuneConfig::check_run(const config::Node& node, const config::RunFacts& run,
                               const config::ReadContext& context) const {
  check_has_latents(run, node, context);
}

FineTuneMethod::FineTuneMethod(const FineTuneConfig& /*config*/, MethodContext method_context)
    : TrainingMethod(std::move(method_context)),
      optimizer_("student", student(), context().optimizer, context().max_train_steps) {
  require_positive_learning_rate(context().optimizer, "FineTuneMethod");
}

config::MethodWork FineTuneMethod::work(const FineTuneConfig& /*config*/,
                                        int64_t /*num_latent_frames*/) {
  return {.passes = {{.role = "student", .purpose = "loss", .differentiable = true}}};
}

StepOutput FineTuneMethod::single_train_step(const Batch& raw, const StepIndex& /*index*/) {
  const TrainingBatch batch = student().prepare_batch(raw, LatentsSource::kData);
  const at::Tensor velocity =
      student()
          .predict_noise(batch.noisy_latents_BTCHW, batch.timesteps_B, batch.conditional)
          .to(at::kFloat);
  at::Tensor loss;
  if (context().precondition_outputs) {
    const at::Tensor clean =
        batch.noisy_latents_BTCHW - velocity * batch.sigmas_B.view({-1, 1, 1, 1, 1});
    loss = at::mse_loss(clean, batch.latents_BTCHW);
  } else {
    loss = at::mse_loss(velocity, batch.noise_BTCHW - batch.latents_BTCHW);
  }
  const at::Tensor logged = loss.detach();
  return {{{"total_loss", logged}, {"finetune_loss", logged}},
          {},
          {{&student(), loss}},
          student().num_tokens(batch.latents_BTCHW.sizes())};
}

std::vector<RoleOptimizer*> FineTuneMethod::optimizers(int64_t /*step*/) {
  return {&optimizer_};
}

}  // namespace zoetrope
