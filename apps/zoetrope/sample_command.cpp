#include "zoetrope/sample_command.h"

#include <chrono>
#include <memory>

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
#include "zoetrope/media/video_writer.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"
#include "zoetrope/pipelines/video_generator.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples = R"(Examples:
  zoetrope sample runs/quickstart/diffusers_ema --prompt "a big white rabbit" --height 64 --width 96 --num-frames 17
  zoetrope sample Wan-AI/Wan2.1-T2V-1.3B-Diffusers --prompt "a cat" --steps 50 --guidance-scale 5 --output samples
  zoetrope sample models/wan --prompts validation.json --seed 3

Writes one mp4 per prompt and a contact sheet (sheet.png). The same seed gives the same noise.)";

struct Options {
  std::string model;
  std::vector<std::string> prompts;
  std::string prompts_file;
  std::string output = "samples";
  std::string device = "auto";
  std::string dtype = "fp32";
  std::string sampler = "unipc";
  double fps = 16.0;
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

void sample(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto dtype = parse_dtype(options.dtype);
  if (!dtype || !c10::isFloatingType(*dtype)) {
    fail<ConfigError>("--dtype: must be fp32 or bf16, but got '{}'", options.dtype);
  }
  const at::Device device = resolve_device(options.device);
  const std::vector<std::string> prompts = all_prompts(options);
  const std::filesystem::path folder = resolve_model_path(options.model);
  WanTransformer transformer(read_wan_transformer_config(folder / "transformer" / "config.json"),
                             {device, *dtype, /*trainable=*/false});
  transformer.parameters().load(
      WeightFolder(folder / "transformer").load_strict(transformer.parameters().specs()));
  const VelocityFunction velocity = [&](const at::Tensor& noisy_BCTHW, const at::Tensor& timestep_B,
                                        const at::Tensor& text_BLD) {
    return transformer.forward({noisy_BCTHW.to(*dtype), timestep_B, text_BLD.to(*dtype), {}});
  };
  VideoOptions video = options.video;
  video.sampling.sampler =
      options.sampler == "euler" ? SamplerKind::kFlowMatchEuler : SamplerKind::kUniPc;
  VideoGenerator generator(folder, device);
  std::vector<std::string> texts = prompts;
  texts.push_back(video.negative_prompt);
  generator.prepare_prompts(texts);

  std::filesystem::create_directories(options.output);
  std::vector<std::vector<media::Frame>> videos;
  for (const std::string& prompt : prompts) {
    const auto index = static_cast<int64_t>(videos.size());
    Progress progress(fmt::format("video {} of {}", index + 1, prompts.size()),
                      video.sampling.num_steps, "steps");
    videos.push_back(
        generator.generate(velocity, {prompt, index}, video,
                           [&](int64_t /*done*/, int64_t /*total*/) { progress.advance(); }));
    progress.finish();
    const auto path = std::filesystem::path(options.output) / fmt::format("video_{}.mp4", index);
    media::write_video(path, videos.back(), {.fps = options.fps});
    log_info("{}  \"{}\"", path.string(), prompt);
  }
  media::write_png(std::filesystem::path(options.output) / "sheet.png",
                   media::contact_sheet(videos, 6));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  log_info("{} videos of {} frames in {:.1f} s, loading included", videos.size(), videos[0].size(),
           seconds);
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
  command->add_option("--steps", options->video.sampling.num_steps, "Sampling steps")
      ->capture_default_str();
  command->add_option("--guidance-scale", options->video.sampling.guidance_scale, "1: no guidance")
      ->capture_default_str();
  command->add_option("--flow-shift", options->video.sampling.flow_shift, "Timestep shift")
      ->capture_default_str();
  command->add_option("--sampler", options->sampler, "unipc or euler")
      ->check(CLI::IsMember({"unipc", "euler"}))
      ->capture_default_str();
  command->add_option("--seed", options->video.seed, "Seed of the noise")->capture_default_str();
  command->add_option("--fps", options->fps, "Frames per second of the files")
      ->capture_default_str();
  command->add_option("--device", options->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--dtype", options->dtype, "Type of the transformer: fp32 or bf16")
      ->capture_default_str();
  command->callback([options] { sample(*options); });
}

}  // namespace zoetrope
