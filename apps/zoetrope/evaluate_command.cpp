#include "zoetrope/evaluate_command.h"

#include <memory>
#include <optional>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/progress.h"
#include "zoetrope/data/preprocess/shapes_sources.h"
#include "zoetrope/media/image.h"
#include "zoetrope/model_sampler.h"
#include "zoetrope/synthetic/shapes_metrics.h"

namespace zoetrope {
namespace {

constexpr int kSheetColumns = 12;
constexpr size_t kSheetRows = 24;

constexpr const char* kExamples =
    R"(WORLD is synthetic:shapes, the toy world of `zoetrope preprocess synthetic:shapes`: every caption is sampled and
the videos are measured against it: the share with the right colour, shape and direction, the distance of the shape
from where physics puts it, and how far the starts of videos of one caption are apart.

Examples:
  zoetrope evaluate synthetic:shapes runs/toy_world/teacher/diffusers_ema --height 48 --width 48 --num-frames 33
  zoetrope evaluate synthetic:shapes runs/toy_world/self_forcing/diffusers --pipeline wan-causal-dmd \
      --steps 1000,750,500,250 --warp --flow-shift 3 --height 48 --width 48 --num-frames 97 --output scores)";

struct Options {
  std::string world;
  ModelSamplerOptions sampler;
  int64_t videos_per_caption = 4;
  int64_t training_frames = 0;
  std::string output;
};

/// Mean trajectory errors of every `segment_frames` frames say how they grow.
nlohmann::json describe(const ShapesScores& scores, int64_t segment_frames) {
  nlohmann::json json = {{"num_videos", scores.num_videos},
                         {"color_accuracy", scores.color_accuracy},
                         {"shape_accuracy", scores.shape_accuracy},
                         {"direction_accuracy", scores.direction_accuracy},
                         {"shape_overlap", scores.shape_overlap},
                         {"visible", scores.visible},
                         {"trajectory_error_by_frame", scores.trajectory_error}};
  if (scores.diversity) json["diversity"] = *scores.diversity;
  const auto num_frames = std::ssize(scores.trajectory_error);
  std::vector<double> segments;
  for (int64_t first = 0; first < num_frames; first += segment_frames) {
    segments.push_back(
        scores.mean_trajectory_error(first, std::min(num_frames, first + segment_frames)));
  }
  json["trajectory_error"] = segments;
  return json;
}

void evaluate(const Options& options) {
  if (options.world != kShapesInput) {
    fail<ConfigError>("evaluate: WORLD must be {}, but got '{}'", kShapesInput, options.world);
  }
  const VideoOptions& video = options.sampler.video;
  const ShapesWorld world(video.num_height, video.num_width);
  const std::vector<ShapesSubject> subjects = all_shapes_subjects();
  std::vector<std::string> captions;
  captions.reserve(subjects.size());
  for (const ShapesSubject& subject : subjects) captions.push_back(subject.caption());
  ModelSampler sampler(options.sampler);
  sampler.prepare_prompts(captions);

  ShapesScorer scorer(world);
  std::vector<std::vector<media::Frame>> shown;
  const auto num_videos = std::ssize(subjects) * options.videos_per_caption;
  Progress progress("evaluate", num_videos, "videos");
  for (int64_t index = 0; index < num_videos; ++index) {
    const size_t subject = static_cast<size_t>(index) % subjects.size();
    std::vector<media::Frame> frames;
    sampler.sample({captions[subject], index}, [&](const std::vector<media::Frame>& decoded) {
      frames.insert(frames.end(), decoded.begin(), decoded.end());
    });
    scorer.add(subjects[subject], frames);
    if (shown.size() < kSheetRows) shown.push_back(std::move(frames));
    progress.advance();
  }
  progress.finish();

  const int64_t segment = options.training_frames > 0 ? options.training_frames : video.num_frames;
  const nlohmann::json json = describe(scorer.scores(), segment);
  nlohmann::json printed = json;
  printed.erase("trajectory_error_by_frame");
  fmt::print("{}\n", printed.dump());
  if (options.output.empty()) return;
  std::filesystem::create_directories(options.output);
  const std::filesystem::path folder = options.output;
  write_file_atomically(folder / "scores.json", json.dump(2) + "\n");
  media::write_png(folder / "sheet.png", media::contact_sheet(shown, kSheetColumns));
  log_info("{}: scores.json, sheet.png", folder.string());
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("evaluate", "Measure sampled videos of a world whose truth is known");
  command->footer(kExamples);
  command->add_option("WORLD", options->world, "synthetic:shapes")->required();
  add_model_sampler_options(*command, options->sampler);
  command
      ->add_option("--videos-per-caption", options->videos_per_caption,
                   "Videos of each caption, with noises of their own")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--training-frames", options->training_frames,
                   "Mean trajectory errors are given for every so many frames [--num-frames]")
      ->check(CLI::PositiveNumber);
  command->add_option("-o,--output", options->output,
                      "Folder for scores.json and a contact sheet [none]");
  command->callback([options] { evaluate(*options); });
}

}  // namespace zoetrope
