#include "zoetrope/sample_command.h"

#include <chrono>
#include <memory>
#include <optional>

#include <ATen/ATen.h>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/base/progress.h"
#include "zoetrope/callbacks/validation_prompts.h"
#include "zoetrope/media/image.h"
#include "zoetrope/pipelines/video_generator.h"
#include "zoetrope/pipelines/video_output.h"
#include "zoetrope/sample_options.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

constexpr int kSheetColumns = 6;

constexpr const char* kExamples = R"(Examples:
  zoetrope sample runs/quickstart/diffusers_ema --prompt "a big white rabbit" --height 64 --width 96 --num-frames 17
  zoetrope sample Wan-AI/Wan2.1-T2V-1.3B-Diffusers --prompt "a cat" --steps 50 --guidance-scale 5 --output samples
  zoetrope sample models/wan --prompts validation.json --seed 3
  zoetrope sample runs/dmd2/diffusers --pipeline wan-dmd --steps 1000,750,500,250 --prompt "a cat"
  zoetrope sample runs/self_forcing/diffusers --pipeline wan-causal-dmd --steps 1000,750,500,250 --warp --flow-shift 5 \
      --num-frames 241 --local-attn-size 12 --sink-size 3 --prompt "a cat"

Writes one mp4 per prompt and a contact sheet (sheet.png). The same seed gives the same noise. Causal pipelines write
the video while it is made. Few steps, --warp and --flow-shift must be those of the training.)";

struct Options {
  std::string model;
  std::vector<std::string> prompts;
  std::string prompts_file;
  std::string output = "samples";
  std::string device = "auto";
  std::string dtype = "fp32";
  double fps = 16.0;
  SampleChoices choices;
  VideoOptions video;
};

std::vector<std::string> all_prompts(const Options& options) {
  std::vector<std::string> prompts = options.prompts;
  if (!options.prompts_file.empty()) {
    for (const ValidationPrompt& prompt : read_validation_prompts(options.prompts_file)) {
      prompts.push_back(prompt.caption);
    }
  }
  if (prompts.empty()) fail<ConfigError>("sample: needs --prompt or --prompts, but got neither");
  return prompts;
}

using Generate =
    std::function<VideoTiming(const VideoRequest& request, const VideoOptions& video,
                              const FrameSink& sink, const SamplingProgress& progress)>;

/// Samples with `network` as the pipeline does. Both are borrowed.
Generate generate_with(WanTransformer& network, VideoGenerator& generator, const Options& options,
                       const PipelineKind& kind) {
  if (!kind.causal) {
    const VelocityFunction velocity = [&network](const at::Tensor& noisy_BCTHW,
                                                 const at::Tensor& timestep_B,
                                                 const at::Tensor& text_BLD) {
      const at::ScalarType dtype = network.parameters().options().compute_dtype;
      return network.forward({noisy_BCTHW.to(dtype), timestep_B, text_BLD.to(dtype), {}});
    };
    return [&generator, velocity](const auto& request, const auto& video, const auto& sink,
                                  const auto& progress) {
      return generator.generate(velocity, request, video, sink, progress);
    };
  }
  const StreamingNetwork streaming =
      make_streaming_network(network, causal_attention(network.config(), options.choices),
                             generator.num_latent_frames(options.video));
  return [&generator, streaming](const auto& request, const auto& video, const auto& sink,
                                 const auto& progress) {
    return generator.stream(streaming, request, video, sink, progress);
  };
}

/// Writes the video of `request`, and returns frames of it for the contact sheet.
std::vector<media::Frame> sample_one(const Generate& generate, const VideoRequest& request,
                                     const VideoOptions& video, const Options& options,
                                     const std::string& title) {
  const auto path =
      std::filesystem::path(options.output) / fmt::format("video_{}.mp4", request.noise_index);
  VideoOutput output(path, video.num_frames, kSheetColumns, options.fps);
  std::optional<Progress> progress;
  const VideoTiming timing = generate(
      request, video, [&](const std::vector<media::Frame>& frames) { output.add(frames); },
      [&](int64_t /*done*/, int64_t total) {
        if (!progress) progress.emplace(title, total, "steps");
        progress->advance();
      });
  if (progress) progress->finish();
  std::vector<media::Frame> kept = output.finish();
  log_info("{}  \"{}\"", path.string(), request.prompt);
  log_info("  {} frames, the first after {:.2f} s, {:.2f} frames/s", timing.num_frames,
           timing.first_frame_sec, timing.frames_per_sec());
  return kept;
}

void sample(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto dtype = parse_dtype(options.dtype);
  if (!dtype || !c10::isFloatingType(*dtype)) {
    fail<ConfigError>("--dtype: must be fp32 or bf16, but got '{}'", options.dtype);
  }
  const PipelineKind& kind = pipeline_kind(options.choices.pipeline);
  const at::Device device = resolve_device(options.device);
  const std::vector<std::string> prompts = all_prompts(options);
  VideoOptions video = options.video;
  video.sampling = sampling_options(options.choices, kind, device);
  const std::filesystem::path folder = resolve_model_path(options.model);
  WanTransformer transformer(read_wan_transformer_config(folder / "transformer" / "config.json"),
                             {device, *dtype, /*trainable=*/false});
  transformer.parameters().load(
      WeightFolder(folder / "transformer").load_strict(transformer.parameters().specs()));
  VideoGenerator generator(folder, device);
  const Generate generate = generate_with(transformer, generator, options, kind);
  std::vector<std::string> texts = prompts;
  if (video.sampling.guidance_scale > 1.0) texts.push_back(video.negative_prompt);
  generator.prepare_prompts(texts);

  std::filesystem::create_directories(options.output);
  std::vector<std::vector<media::Frame>> videos;
  for (const std::string& prompt : prompts) {
    const auto index = static_cast<int64_t>(videos.size());
    videos.push_back(sample_one(generate, {prompt, index}, video, options,
                                fmt::format("video {} of {}", index + 1, prompts.size())));
  }
  media::write_png(std::filesystem::path(options.output) / "sheet.png",
                   media::contact_sheet(videos, kSheetColumns));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  log_info("{} videos of {} frames in {:.1f} s, loading included", videos.size(), video.num_frames,
           seconds);
}

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
  command.add_option("--flow-shift", choices.flow_shift, "Timestep shift")->capture_default_str();
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

}  // namespace

void add_sample_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("sample", "Sample videos from a pipeline folder");
  command->footer(kExamples);
  command
      ->add_option("MODEL", options->model,
                   "Pipeline folder, or Hugging Face name in the local cache")
      ->required();
  command->add_option("--prompt", options->prompts, "What to show; may be given several times")
      ->take_all();
  command->add_option("--prompts", options->prompts_file,
                      "Validation file: {\"data\": [{\"caption\": ...}]}");
  command->add_option("--output", options->output, "Folder to write")->capture_default_str();
  command->add_option("--negative-prompt", options->video.negative_prompt,
                      "What guidance steers away from");
  command->add_option("--num-frames", options->video.num_frames, "Pixel frames, 1 + 4 k")
      ->capture_default_str();
  command->add_option("--height", options->video.num_height, "Pixels")->capture_default_str();
  command->add_option("--width", options->video.num_width, "Pixels")->capture_default_str();
  add_pipeline_options(*command, options->choices);
  command->add_option("--seed", options->video.seed, "Seed of the noise")->capture_default_str();
  command->add_option("--fps", options->fps, "Frames per second of the files")
      ->capture_default_str();
  command->add_option("--device", options->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--dtype", options->dtype, "Type of the transformer: fp32 or bf16")
      ->capture_default_str();
  command->callback([options] { sample(*options); });
}

}  // namespace zoetrope
