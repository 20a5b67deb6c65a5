#include "zoetrope/preprocess_command.h"

#include <cstdio>
#include <memory>
#include <optional>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/data/parquet_schema.h"
#include "zoetrope/data/preprocess/preprocessor.h"
#include "zoetrope/data/preprocess/shapes_sources.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExplanation = R"(INPUT is one of
  a folder           every video below it, with its caption in a text file of the same name
  a .csv or .jsonl   columns `path` (or `video`, `file_name`) and `caption` (or `cap`, `text`, `prompt`),
                     optionally `start` in seconds
  FastVideo's        a folder with videos2caption.json and videos/, or that file
                     with --data-type matrixgame2, `actions`: the file of the video's actions
  a .txt             with --text-only: one caption in each line
  synthetic:shapes   clips of a toy world that are made here: coloured shapes that move and bounce, with captions such
                     as "a red square moving left" (--num-clips, --seed)

--data-type says what the rows hold: t2v (video latents, text), i2v (and first-frame latents and image tokens, for image
to video), matrixgame2 (no text, but one row of keys and mouse movement for each pixel frame), text_only. Actions lie
beside the video, under its name: .jsonl with {"keyboard": [0, 1], "mouse": [0, 0.5]} in each line, .csv with columns
keyboard_0, keyboard_1, mouse_0, mouse_1, .npz or .parquet with `keyboard` and `mouse`, or FastVideo's .npy. Each clip
gets the rows of the very frames that it was made of.

A stopped run goes on when the same command is given again. Sources that cannot be used are listed with the reason in
worker_<k>/rejects.jsonl of the output folder; the exit code is 1 only when no row came out.

Examples:
  zoetrope preprocess clips/ --output data/clips --model assets/tiny-wan --height 64 --width 96 --num-frames 17
  zoetrope preprocess list.csv -o data/mixed -m Wan-AI/Wan2.1-T2V-1.3B-Diffusers --buckets 480x832,832x480
  zoetrope preprocess long_videos/ -o data/long -m wan/ --num-frames 81 --clip-stride 40 --max-clips 20
  zoetrope preprocess clips/ -o data/i2v -m wan-i2v/ --data-type i2v
  zoetrope preprocess episodes/ -o data/game -m game/ --data-type matrixgame2 --fps 25 --num-frames 77
  zoetrope preprocess prompts.txt -o data/prompts -m wan/ --text-only
  zoetrope preprocess synthetic:shapes -o data/shapes -m assets/tiny-wan --height 48 --width 48 --num-frames 33
  zoetrope preprocess huge.jsonl -o data/huge -m wan/ --shard 3/8      one of eight processes)";

constexpr int64_t kDefaultNumClips = 3072;

struct Options {
  std::string input;
  std::string output;
  std::string model;
  std::string device = "auto";
  std::string text_dtype = "fp32";
  std::string buckets;
  std::string shard = "0/1";
  int64_t height = 480;
  int64_t width = 832;
  int64_t clip_stride = 0;
  int64_t max_clips = 0;
  std::optional<int64_t> num_clips;  // of synthetic:shapes
  std::optional<int64_t> seed;       // of synthetic:shapes
  bool tiled = false;
  bool text_only = false;
  PreprocessOptions work;
};

void read_shard(const std::string& text, PreprocessOptions& work) {
  int used = 0;
  const bool read =
      std::sscanf(text.c_str(), "%ld/%ld%n", &work.shard, &work.num_shards, &used) == 2;
  if (!read || static_cast<size_t>(used) != text.size() || work.num_shards < 1 || work.shard < 0 ||
      work.shard >= work.num_shards) {
    fail<ConfigError>("--shard: must be K/N with 0 <= K < N, such as 0/8, but got '{}'", text);
  }
}

void read_clip_options(const Options& options, const fs::path& pipeline, ClipSourceOptions& clips) {
  const ClipGrid grid = read_clip_grid(pipeline);
  if ((clips.num_frames - 1) % grid.temporal_ratio != 0) {
    fail<ConfigError>(
        "--num-frames: must be 1 + a multiple of {} for this VAE, but got {}; next: {}",
        grid.temporal_ratio, clips.num_frames,
        (clips.num_frames - 1) / grid.temporal_ratio * grid.temporal_ratio + 1);
  }
  const std::string buckets = options.buckets.empty()
                                  ? fmt::format("{}x{}", options.height, options.width)
                                  : options.buckets;
  // The transformer takes patches of two by two latents.
  clips.buckets = parse_buckets(buckets, 2 * grid.spatial_ratio);
  clips.clip_stride = options.clip_stride == 0 ? clips.num_frames : options.clip_stride;
  if (options.max_clips > 0) clips.max_clips = options.max_clips;
}

std::vector<SourceEntry> list_sources(const Options& options, const fs::path& input,
                                      PreprocessOptions& work) {
  if (options.input != kShapesInput) {
    if (options.num_clips || options.seed) {
      fail<ConfigError>("--num-clips and --seed: are for {} alone, but the input is '{}'",
                        kShapesInput, options.input);
    }
    return work.text_only() ? list_texts(input) : list_videos(input);
  }
  if (!work.text_only() && work.clips.buckets.size() != 1) {
    fail<ConfigError>("--buckets: must be one size for {}, but are {}", kShapesInput,
                      work.clips.buckets.size());
  }
  work.clips.max_clips = 1;
  ShapesClips clips{.num_clips = options.num_clips.value_or(kDefaultNumClips),
                    .num_frames = work.clips.num_frames,
                    .height = options.height,
                    .width = options.width,
                    .seed = options.seed.value_or(0)};
  if (!work.text_only()) {
    clips.height = work.clips.buckets.front().height;
    clips.width = work.clips.buckets.front().width;
  }
  return list_shapes(clips);
}

void print_summary(const PreprocessSummary& summary, const PreprocessOptions& work) {
  const char* what = work.text_only() ? "captions" : "videos";
  if (summary.was_finished) log_info("preprocess: was finished before; nothing to do");
  fmt::print("{} {} in = {} complete + {} listed in {}; {} rows in {}\n", summary.num_sources, what,
             summary.num_complete, summary.rejects.size(), summary.rejects_path.string(),
             summary.num_rows, summary.folder.string());
  std::fflush(stdout);
  if (summary.num_rows == 0) {
    fail<DataError>("{}: must give at least one row, but all {} {} were rejected, the first: {}",
                    summary.folder.string(), summary.num_sources, what,
                    summary.rejects.empty() ? "none" : summary.rejects.front().reason);
  }
}

void run(const Options& options) {
  PreprocessOptions work = options.work;
  if (options.text_only) work.schema = "text_only";
  read_shard(options.shard, work);
  const fs::path input = expand_user(options.input);
  work.output = expand_user(options.output);
  const fs::path pipeline = resolve_model_path(options.model);
  WanEncoderOptions encoder;
  encoder.text_dtype = parse_dtype(options.text_dtype).value();
  encoder.with_video = !work.text_only();
  encoder.with_text = parquet_schema(work.schema).has_tensor("text_embedding");
  encoder.with_image = parquet_schema(work.schema).has_tensor("clip_feature");
  encoder.tiled = options.tiled;
  work.encoder_name = fmt::format("{} text {}{}", fs::weakly_canonical(pipeline).string(),
                                  options.text_dtype, options.tiled ? " tiled" : "");
  if (!work.text_only()) read_clip_options(options, pipeline, work.clips);
  std::vector<SourceEntry> sources = list_sources(options, input, work);
  const PreprocessSummary summary = preprocess(std::move(sources), work, [&] {
    return make_wan_encoder(pipeline, resolve_device(options.device), encoder);
  });
  print_summary(summary, work);
}

void add_clip_options(CLI::App& command, Options& options) {
  ClipSourceOptions& clips = options.work.clips;
  command.add_option("--num-frames", clips.num_frames, "Frames of a clip; 1 + a multiple of 4")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--fps", clips.fps, "Rate that frames are taken at")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--height", options.height, "Height of clips in pixels")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--width", options.width, "Width of clips in pixels")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option(
      "--buckets", options.buckets,
      "Several sizes, HEIGHTxWIDTH,...; each video goes to the one nearest in shape");
  command
      .add_option("--clip-stride", options.clip_stride,
                  "Frames from one clip of a video to the next; default: --num-frames")
      ->check(CLI::PositiveNumber);
  command.add_option("--max-clips", options.max_clips, "Clips of one video at most; default: all")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--num-clips", options.num_clips,
                  fmt::format("synthetic:shapes: how many clips [{}]", kDefaultNumClips))
      ->check(CLI::PositiveNumber);
  command.add_option("--seed", options.seed, "synthetic:shapes: other clips for each seed [0]");
}

}  // namespace

void add_preprocess_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("preprocess", "Turn videos with captions into training data");
  command->footer(kExplanation);
  command->add_option("INPUT", options->input, "Folder or list of videos (see below)")->required();
  command->add_option("-o,--output", options->output, "Folder for the parquet files")->required();
  command
      ->add_option(
          "-m,--model", options->model,
          "Pipeline folder (or cached Hugging Face name) with VAE, tokenizer and text encoder, "
          "image encoder and processor, as far as the rows need them")
      ->required();
  add_clip_options(*command, *options);
  command->add_option("--data-type", options->work.schema, "What the rows hold (see below)")
      ->check(CLI::IsMember({"t2v", "i2v", "matrixgame2", "text_only"}))
      ->capture_default_str();
  command->add_flag("--text-only", options->text_only, "The same as --data-type text_only");
  command->add_option("--rows-per-file", options->work.rows_per_file, "Rows of one parquet file")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--workers", options->work.clips.num_threads, "Threads that decode videos")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--device", options->device, "cpu, cuda, or auto")->capture_default_str();
  command->add_option("--text-dtype", options->text_dtype, "Precision of the text encoder")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_flag("--tile", options->tiled, "Encode in spatial tiles, for less memory");
  command->add_option("--shard", options->shard, "K/N: take every N-th source, from the K-th on")
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace zoetrope
