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
#include "zoetrope/base/progress.h"
#include "zoetrope/callbacks/validation_prompts.h"
#include "zoetrope/data/actions/action_file.h"
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

Writes one mp4 per prompt (or, for a model without text, per --image) and a contact sheet (sheet.png). The same seed gives the same noise. Causal pipelines write
the video while it is made. Few steps, --warp and --flow-shift must be those of the training.)";

struct Options {
  ModelSamplerOptions sampler;
  std::vector<std::string> prompts;
  std::string prompts_file;
  std::vector<std::string> images;
  std::vector<std::string> actions;
  std::string output = "samples";
  double fps = 16.0;
};

/// One text for each video; empty for a model without text.
std::vector<std::string> all_prompts(const Options& options) {
  std::vector<std::string> prompts = options.prompts;
  if (!options.prompts_file.empty()) {
    for (const ValidationPrompt& prompt : read_validation_prompts(options.prompts_file)) {
      prompts.push_back(prompt.caption);
    }
  }
  if (prompts.empty()) prompts.resize(options.images.size());
  if (prompts.empty())
    fail<ConfigError>("sample: needs --prompt, --prompts or --image, but got none of them");
  return prompts;
}

std::vector<VideoRequest> all_requests(const Options& options) {
  std::vector<VideoRequest> requests;
  for (std::string& prompt : all_prompts(options)) {
    requests.push_back({std::move(prompt), std::ssize(requests)});
  }
  const auto check_count = [&](const char* option, size_t count) {
    if (count == 0 || count == requests.size()) return;
    fail<ConfigError>("{}: must be given once for each of the {} videos, but was {} times", option,
                      requests.size(), count);
  };
  check_count("--image", options.images.size());
  check_count("--actions", options.actions.size());
  for (size_t index = 0; index < options.images.size(); ++index) {
    requests[index].first_frame = media::read_image(options.images[index]);
  }
  for (size_t index = 0; index < options.actions.size(); ++index) {
    const FrameActions actions = read_action_file(options.actions[index]);
    requests[index].keyboard_FK = actions.keyboard_FK;
    requests[index].mouse_F2 = actions.mouse_F2;
  }
  return requests;
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
  const std::vector<VideoRequest> requests = all_requests(options);
  ModelSampler sampler(options.sampler);
  std::vector<std::string> prompts;
  for (const VideoRequest& request : requests) prompts.push_back(request.prompt);
  sampler.prepare_prompts(prompts);

  std::filesystem::create_directories(options.output);
  std::vector<std::vector<media::Frame>> videos;
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
      ->add_option("--image", options->images,
                   "PNG or JPEG that a video begins with, of its size; once for each video")
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
