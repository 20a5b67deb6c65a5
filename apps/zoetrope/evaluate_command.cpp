#include "zoetrope/evaluate_command.h"

#include <memory>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/log.h"
#include "zoetrope/data/preprocess/synthetic_sources.h"
#include "zoetrope/evaluate_world.h"
#include "zoetrope/media/image.h"

namespace zoetrope {
namespace {

constexpr int kSheetColumns = 12;

constexpr const char* kExamples =
    R"(WORLD is synthetic:shapes, the toy world of `zoetrope preprocess synthetic:shapes`: every caption is sampled and
the videos are measured against it: the share with the right colour, shape and direction, the distance of the shape
from where physics puts it, and how far the starts of videos of one caption are apart.

Or synthetic:steering, where keys move the shape: videos are sampled from first frames and keys of fresh clips, and
measured: the share of the steps that obey the key (and of those that obey another video's keys, which is chance), and
how far the shape is from where the keys lead. Captions are the 12 of colour and shape there.

Examples:
  zoetrope evaluate synthetic:shapes runs/toy_world/teacher/diffusers_ema --height 48 --width 48 --num-frames 33
  zoetrope evaluate synthetic:shapes runs/toy_world/self_forcing/diffusers --pipeline wan-causal-dmd \
      --steps 1000,750,500,250 --warp --flow-shift 3 --height 48 --width 48 --num-frames 97 --output scores
  zoetrope evaluate synthetic:steering runs/world_model/steering/03-self_forcing/diffusers_ema --pipeline wan-causal-dmd \
      --steps 1000,750,500,250 --warp --height 48 --width 48 --num-frames 97 --training-frames 33)";

struct Options {
  std::string world;
  EvaluateOptions evaluate;
  std::string output;
};

void evaluate(const Options& options) {
  if (options.world != kShapesInput && options.world != kSteeringInput) {
    fail<ConfigError>("evaluate: WORLD must be {} or {}, but got '{}'", kShapesInput,
                      kSteeringInput, options.world);
  }
  const WorldEvaluation evaluation = options.world == kShapesInput
                                         ? evaluate_shapes(options.evaluate)
                                         : evaluate_steering(options.evaluate);
  fmt::print("{}\n", evaluation.summary.dump());
  if (options.output.empty()) return;
  std::filesystem::create_directories(options.output);
  const std::filesystem::path folder = options.output;
  nlohmann::json scores = evaluation.summary;
  scores.update(evaluation.by_frame);
  write_file_atomically(folder / "scores.json", scores.dump(2) + "\n");
  media::write_png(folder / "sheet.png", media::contact_sheet(evaluation.shown, kSheetColumns));
  log_info("{}: scores.json, sheet.png", folder.string());
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("evaluate", "Measure sampled videos of a world whose truth is known");
  command->footer(kExamples);
  EvaluateOptions& evaluation = options->evaluate;
  command->add_option("WORLD", options->world, "synthetic:shapes or synthetic:steering")
      ->required();
  add_model_sampler_options(*command, evaluation.sampler);
  command
      ->add_option("--videos-per-caption", evaluation.videos_per_caption,
                   "Videos of each caption, with noises of their own")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--training-frames", evaluation.training_frames,
                   "Means over time are given for every so many frames [--num-frames]")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--clip-seed", evaluation.clip_seed,
                   "synthetic:steering: seed of first frames and keys, not that of the training")
      ->capture_default_str();
  command->add_option("-o,--output", options->output,
                      "Folder for scores.json and a contact sheet [none]");
  command->callback([options] { evaluate(*options); });
}

}  // namespace zoetrope
