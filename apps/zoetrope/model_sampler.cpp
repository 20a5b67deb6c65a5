#include "zoetrope/model_sampler.h"

#include <ATen/ATen.h>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

at::ScalarType transformer_dtype(const std::string& name) {
  const auto dtype = parse_dtype(name);
  if (!dtype || !c10::isFloatingType(*dtype)) {
    fail<ConfigError>("--dtype: must be fp32 or bf16, but got '{}'", name);
  }
  return *dtype;
}

}  // namespace

void add_pipeline_options(CLI::App& command, SampleChoices& choices) {
  std::vector<std::string> names;
  for (const PipelineKind& kind : pipeline_kinds()) names.push_back(kind.name);
  command
      .add_option("--pipeline", choices.pipeline,
                  "wan: many steps; wan-dmd: a distilled student's few; wan-causal, "
                  "wan-causal-dmd: the same block by block")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  command
      .add_option("--steps", choices.steps,
                  "Number of sampling steps [50]; dmd: the timesteps [1000,750,500,250]")
      ->delimiter(',')
      ->allow_extra_args(false);  // the model may follow
  command.add_option("--guidance-scale", choices.guidance_scale,
                     "1: no guidance [3]; dmd: always 1");
  command
      .add_option("--flow-shift", choices.flow_shift, "Timestep shift [that of MODEL's scheduler]")
      ->check(CLI::PositiveNumber);
  command.add_option("--sampler", choices.sampler, "unipc or euler [unipc]")
      ->check(CLI::IsMember({"unipc", "euler"}));
  command.add_flag("--warp", choices.warp,
                   "dmd: move the steps onto the shifted schedule (warp_denoising_step)");
  command
      .add_option("--transition", choices.transition,
                  "dmd: from step to step with fresh noise (sde) or along the flow (ode) [sde]")
      ->check(CLI::IsMember({"sde", "ode"}));
  command.add_option("--context-noise", choices.context_noise,
                     "causal dmd: timestep of the noise on finished blocks [0]");
  command.add_option("--frames-per-block", choices.frames_per_block,
                     "causal: latent frames of a block [the model's, or 3]");
  command.add_option("--local-attn-size", choices.local_attn_size,
                     "causal: latent frames that a block sees, -1 all [the model's]");
  command.add_option("--sink-size", choices.sink_size,
                     "causal: first latent frames that are always seen [the model's]");
}

void add_model_sampler_options(CLI::App& command, ModelSamplerOptions& options) {
  command
      .add_option("MODEL", options.model,
                  "Pipeline folder, or Hugging Face name in the local cache")
      ->required();
  command.add_option("--negative-prompt", options.video.negative_prompt,
                     "What guidance steers away from");
  command.add_option("--num-frames", options.video.num_frames, "Pixel frames, 1 + 4 k")
      ->capture_default_str();
  command.add_option("--height", options.video.num_height, "Pixels")->capture_default_str();
  command.add_option("--width", options.video.num_width, "Pixels")->capture_default_str();
  add_pipeline_options(command, options.choices);
  command.add_option("--seed", options.video.seed, "Seed of the noise")->capture_default_str();
  command.add_option("--device", options.device, "auto, cpu or cuda")->capture_default_str();
  command.add_option("--dtype", options.dtype, "Type of the transformer: fp32 or bf16")
      ->capture_default_str();
}

ModelSampler::ModelSampler(const ModelSamplerOptions& options)
    : ModelSampler(options, resolve_model_path(options.model), resolve_device(options.device)) {}

ModelSampler::ModelSampler(const ModelSamplerOptions& options, const std::filesystem::path& folder,
                           at::Device device)
    : video_(options.video),
      transformer_(read_wan_transformer_config(folder / "transformer" / "config.json"),
                   {device, transformer_dtype(options.dtype), /*trainable=*/false}),
      generator_(folder, device) {
  const PipelineKind& kind = pipeline_kind(options.choices.pipeline);
  std::optional<int64_t> max_latent_frames = transformer_.config().rope_max_seq_len;
  CausalAttention attention;
  if (kind.causal) {
    attention = causal_attention(transformer_.config(), options.choices);
    max_latent_frames = max_streamed_frames(transformer_.config(), attention);
  }
  check_video_length(read_wan_vae_config(folder / "vae"), video_.num_frames, max_latent_frames,
                     "--num-frames");
  video_.sampling = sampling_options(options.choices, kind, folder, device);
  video_.has_text = transformer_.config().has_text();
  // Without a text there is nothing to be guided by.
  if (!video_.has_text && !options.choices.guidance_scale) video_.sampling.guidance_scale = 1.0;
  transformer_.parameters().load(
      load_wan_weights(folder / "transformer", transformer_.parameters().specs()));
  if (kind.causal) {
    const StreamingNetwork streaming =
        make_streaming_network(transformer_, attention, generator_.num_latent_frames(video_));
    generate_ = [this, streaming](const auto& request, const auto& sink, const auto& progress) {
      return generator_.stream(streaming, request, video_, sink, progress);
    };
    return;
  }
  const DenoisingNetwork velocity = [this](const at::Tensor& noisy_BCTHW,
                                           const at::Tensor& timestep_B,
                                           const Conditioning& conditioning) {
    const at::ScalarType dtype = transformer_.parameters().options().compute_dtype;
    return transformer_.forward(conditioned_inputs(transformer_.config(), dtype, noisy_BCTHW,
                                                   timestep_B, conditioning.to(dtype), 0));
  };
  generate_ = [this, velocity](const auto& request, const auto& sink, const auto& progress) {
    return generator_.generate(velocity, request, video_, sink, progress);
  };
}

VideoInputs ModelSampler::inputs() const {
  const WanTransformerConfig& network = transformer_.config();
  return {network.has_text(), network.image_dim.has_value(), network.action.has_value()};
}

void ModelSampler::prepare_prompts(std::vector<std::string> prompts) {
  if (!video_.has_text) return;
  if (video_.sampling.guidance_scale > 1.0) prompts.push_back(video_.negative_prompt);
  generator_.prepare_prompts(prompts);
}

VideoTiming ModelSampler::sample(const VideoRequest& request, const FrameSink& sink,
                                 const SamplingProgress& progress) {
  return generate_(request, sink, progress);
}

}  // namespace zoetrope
