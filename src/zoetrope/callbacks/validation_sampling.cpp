#include "zoetrope/callbacks/validation_sampling.h"

#include "zoetrope/base/error.h"
#include "zoetrope/callbacks/video_requests.h"

namespace zoetrope {
namespace {

SamplingOptions at_few_steps(const ValidationConfig& config, const CallbackContext& context,
                             TrainingMethod& method, const PipelineKind& kind) {
  SamplingOptions sampling;
  sampling.guidance_scale = 1.0;
  sampling.few_step = method.few_step_rollout();
  if (!config.sampling_timesteps) {
    if (sampling.few_step) return sampling;
    fail<ConfigError>(
        "callbacks.validation.sampling_timesteps: must list the steps of {}, because the method "
        "has none of its own, but is null; for example [1000, 750, 500, 250]",
        kind.class_name());
  }
  if (!sampling.few_step)
    sampling.few_step = {.schedule = make_training_schedule(context.flow_shift, context.device),
                         .timesteps = {}};
  sampling.few_step->warped = config.warp_denoising_step.value_or(sampling.few_step->warped);
  sampling.few_step->timesteps =
      denoising_timesteps(*config.sampling_timesteps, sampling.few_step->warped,
                          sampling.few_step->schedule, "callbacks.validation.sampling_timesteps");
  return sampling;
}

}  // namespace

std::vector<SamplingOptions> validation_passes(const ValidationConfig& config,
                                               const CallbackContext& context,
                                               TrainingMethod& method) {
  const PipelineKind& kind = pipeline_kind(config.pipeline_target);
  if (kind.few_step) return {at_few_steps(config, context, method, kind)};
  std::vector<SamplingOptions> passes;
  for (const int64_t num_steps : config.sampling_steps) {
    SamplingOptions& sampling = passes.emplace_back();
    sampling.num_steps = num_steps;
    sampling.sampler =
        config.sampler == "euler" ? SamplerKind::kFlowMatchEuler : SamplerKind::kUniPc;
    // Without a text there is nothing to be guided by.
    if (!video_inputs(method.student().data_type()).text) sampling.guidance_scale = 1.0;
    if (config.guidance_scale) sampling.guidance_scale = *config.guidance_scale;
    sampling.flow_shift = context.flow_shift;
  }
  return passes;
}

int64_t num_steps(const SamplingOptions& sampling) {
  return sampling.few_step ? sampling.few_step->num_steps() : sampling.num_steps;
}

CausalModelBase& require_causal_student(ModelBase& student, const PipelineKind& kind) {
  if (auto* causal = dynamic_cast<CausalModelBase*>(&student)) return *causal;
  fail<ConfigError>(
      "callbacks.validation.pipeline_target: {} needs a causal student, but the student is "
      "bidirectional; use WanPipeline or WanDMDPipeline",
      kind.class_name());
}

}  // namespace zoetrope
