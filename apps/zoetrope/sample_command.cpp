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
#include "zoetrope/callbacks/video_requests.h"
#include "zoetrope/media/image.h"
#include "zoetrope/model_sampler.h"
#include "zoetrope/pipelines/video_output.h"

namespace zoetrope {
namespace {

constexpr int kSheetColumns = 6;

constexpr const char* kExamples = R"(Examples:
  zoetrope sample runs/quickstart/diffusers_ema --prompt "a big white rabbit" --height 64 --width 96 --num-frames 17
  zoetrope sample Wan-AI/Wan2.1-T2V-1.3B-Diffusers --prompt "a cat" --steps 50 --guidance-scale 5 --output samples
  zoetrope sample models/wan --prompts validation.json --seed 3
  zoetrope sample runs/dmd2/diffusers --pipeline wan-dmd --steps 1000,750,500,250 --prompt "a cat"
  zoetrope sample runs/pong/diffusers --image first.png --actions keys.npz --height 48 --width 48 --num-frames 33
  zoetrope sample runs/self_forcing/diffusers --pipeline wan-causal-dmd --steps 1000,750,500,250 --warp --flow-shift 5 \
      --num-frames 241 --local-attn-size 12 --sink-size 3 --prompt "a cat"

Writes one mp4 per prompt (or, for a model without text, per --image) and a contact sheet (sheet.png). The same seed
gives the same noise. Causal pipelines write the video while it is made. Few steps and --warp must be those of the
training, and --flow-shift where its config had a pipeline.flow_shift.)";

struct Options {
  ModelSamplerOptions sampler;
  std::vector<std::string> prompts;
  std::string prompts_file;
  std::vector<std::string> images;
  std::vector<std::string> actions;
  std::string output = "samples";
  double fps = 16.0;
};

/// The videos of the command line, then those of the file.
std::vector<ValidationPrompt> all_prompts(const Options& options) {
  std::vector<ValidationPrompt> prompts;
  for (const std::string& caption : options.prompts) prompts.push_back({caption});
  if (!options.prompts_file.empty()) {
    for (ValidationPrompt& prompt : read_validation_prompts(options.prompts_file))
      prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) prompts.resize(options.images.size());
  if (prompts.empty())
    fail<ConfigError>("sample: needs --prompt, --prompts or --image, but got none of them");
  const auto set_media = [&](const char* option, const std::vector<std::string>& paths,
                             std::filesystem::path ValidationPrompt::*member) {
    if (!paths.empty() && paths.size() != prompts.size()) {
      fail<ConfigError>("{}: must be given once for each of the {} videos, but was {} times",
                        option, prompts.size(), paths.size());
    }
    for (size_t i = 0; i < paths.size(); ++i) prompts[i].*member = expand_user(paths[i]);
  };
  set_media("--image", options.images, &ValidationPrompt::image);
  set_media("--actions", options.actions, &ValidationPrompt::actions);
  return prompts;
}

void refuse_unused_media(const Options& options, const VideoInputs& inputs) {
  const auto refuse = [](const char* option, bool given, bool used) {
    if (!given || used) return;
    fail<ConfigError>("{}: must be left out for this model, whose network takes none", option);
  };
  refuse("--image", !options.images.empty(), inputs.image);
  refuse("--actions", !options.actions.empty(), inputs.actions);
}

/// Writes the video of `request`, and returns frames of it for the contact sheet.
std::vector<media::Frame> sample_one(ModelSampler& sampler, const VideoRequest& request,
                                     const Options& options, const std::string& title) {
  const auto path =
      std::filesystem::path(options.output) / fmt::format("video_{}.mp4", request.noise_index);
  VideoOutput output(path, sampler.video().num_frames, kSheetColumns, options.fps);
  std::optional<Progress> progress;
  const VideoTiming timing = sampler.sample(
      request, [&](const std::vector<media::Frame>& frames) { output.add(frames); },
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
  const std::vector<ValidationPrompt> prompts = all_prompts(options);
  ModelSampler sampler(options.sampler);
  refuse_unused_media(options, sampler.inputs());
  std::vector<VideoRequest> requests;
  std::vector<std::string> captions;
  for (const ValidationPrompt& prompt : prompts) {
    requests.push_back(
        make_video_request(prompt, std::ssize(requests), sampler.video(), sampler.inputs()));
    captions.push_back(prompt.caption);
  }
  sampler.prepare_prompts(captions);

  std::filesystem::create_directories(options.output);
  std::vector<std::vector<media::Frame>> videos;
  videos.reserve(requests.size());
  for (const VideoRequest& request : requests) {
    videos.push_back(sample_one(sampler, request, options,
                                fmt::format("video {} of {}", videos.size() + 1, requests.size())));
  }
  media::write_png(std::filesystem::path(options.output) / "sheet.png",
                   media::contact_sheet(videos, kSheetColumns));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  log_info("{} videos of {} frames in {:.1f} s, loading included", videos.size(),
           sampler.video().num_frames, seconds);
}

}  // namespace

void add_sample_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("sample", "Sample videos from a pipeline folder");
  command->footer(kExamples);
  add_model_sampler_options(*command, options->sampler);
  command->add_option("--prompt", options->prompts, "What to show; may be given several times")
      ->take_all();
  command->add_option("--prompts", options->prompts_file,
                      "Validation file: {\"data\": [{\"caption\": ...}]}");
  command
      ->add_option(
          "--image", options->images,
          "PNG, JPEG or video (its first frame) that a video begins with, cropped to its shape; "
          "once for each video")
      ->take_all();
  command
      ->add_option("--actions", options->actions,
                   "Keys and mouse of each frame (.jsonl, .csv, .npz, .npy, .parquet); once for "
                   "each video")
      ->take_all();
  command->add_option("--output", options->output, "Folder to write")->capture_default_str();
  command->add_option("--fps", options->fps, "Frames per second of the files")
      ->capture_default_str();
  command->callback([options] { sample(*options); });
}

}  // namespace zoetrope
