#include "zoetrope/sample_options.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/pipeline_folder.h"

namespace zoetrope {
namespace {

void refuse_if(bool given, const char* option, const char* needs, const PipelineKind& kind) {
  if (!given) return;
  fail<ConfigError>("{}: must be left out unless --pipeline is {}, but it is {}", option, needs,
                    kind.name);
}

void check_options(const SampleChoices& choices, const PipelineKind& kind) {
  if (!kind.few_step) {
    constexpr const char* kNeeds = "wan-dmd or wan-causal-dmd";
    refuse_if(choices.warp, "--warp", kNeeds, kind);
    refuse_if(choices.transition.has_value(), "--transition", kNeeds, kind);
    refuse_if(choices.context_noise.has_value(), "--context-noise", "wan-causal-dmd", kind);
  } else {
    constexpr const char* kNeeds = "wan or wan-causal";
    refuse_if(choices.guidance_scale.value_or(1.0) != 1.0, "--guidance-scale", kNeeds, kind);
    refuse_if(choices.sampler.has_value(), "--sampler", kNeeds, kind);
  }
  if (kind.causal) return;
  constexpr const char* kNeeds = "wan-causal or wan-causal-dmd";
  refuse_if(choices.context_noise.has_value(), "--context-noise", "wan-causal-dmd", kind);
  refuse_if(choices.frames_per_block.has_value(), "--frames-per-block", kNeeds, kind);
  refuse_if(choices.local_attn_size.has_value(), "--local-attn-size", kNeeds, kind);
  refuse_if(choices.sink_size.has_value(), "--sink-size", kNeeds, kind);
}

FewStepRollout few_step_rollout(const SampleChoices& choices, double flow_shift,
                                at::Device device) {
  FewStepRollout rollout{.schedule = make_training_schedule(flow_shift, device), .timesteps = {}};
  const std::vector<int64_t> steps =
      choices.steps.empty() ? std::vector<int64_t>{1000, 750, 500, 250} : choices.steps;
  rollout.timesteps = denoising_timesteps(steps, choices.warp, rollout.schedule, "--steps");
  rollout.warped = choices.warp;
  if (choices.transition == "ode") rollout.transition = FewStepTransition::kOde;
  rollout.context_noise = choices.context_noise.value_or(rollout.context_noise);
  if (rollout.context_noise < 0.0 || rollout.context_noise > 1000.0)
    fail<ConfigError>("--context-noise: must be from 0 to 1000, but got {}", rollout.context_noise);
  return rollout;
}

}  // namespace

SamplingOptions sampling_options(const SampleChoices& choices, const PipelineKind& kind,
                                 const std::filesystem::path& pipeline_folder, at::Device device) {
  check_options(choices, kind);
  const double flow_shift =
      choices.flow_shift ? *choices.flow_shift : pipeline_flow_shift(pipeline_folder);
  SamplingOptions sampling;
  if (kind.few_step) {
    sampling.guidance_scale = 1.0;
    sampling.few_step = few_step_rollout(choices, flow_shift, device);
    return sampling;
  }
  if (choices.steps.size() > 1) {
    fail<ConfigError>(
        "--steps: must be one number for --pipeline {}, but got {}; timesteps are for wan-dmd and "
        "wan-causal-dmd",
        kind.name, choices.steps.size());
  }
  if (!choices.steps.empty()) sampling.num_steps = choices.steps[0];
  sampling.guidance_scale = choices.guidance_scale.value_or(sampling.guidance_scale);
  sampling.flow_shift = flow_shift;
  if (choices.sampler == "euler") sampling.sampler = SamplerKind::kFlowMatchEuler;
  return sampling;
}

CausalAttention causal_attention(WanTransformerConfig network, const SampleChoices& choices) {
  if (choices.local_attn_size) network.local_attn_size = choices.local_attn_size;
  if (choices.sink_size) network.sink_size = choices.sink_size;
  return causal_attention_of(network, choices.frames_per_block);
}

}  // namespace zoetrope
