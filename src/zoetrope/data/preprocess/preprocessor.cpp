#include "zoetrope/data/preprocess/preprocessor.h"

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/folder_lock.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/progress.h"
#include "zoetrope/data/parquet_writer.h"
#include "zoetrope/data/preprocess/row_builder.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

std::vector<SourceEntry> take_shard(std::vector<SourceEntry> sources,
                                    const PreprocessOptions& options) {
  std::vector<SourceEntry> own;
  for (int64_t i = options.shard; i < std::ssize(sources); i += options.num_shards) {
    own.push_back(std::move(sources[static_cast<size_t>(i)]));
  }
  return own;
}

/// The controls of the first source that says which; every other must have the same. A source whose
/// actions cannot be read is rejected with its reason when its turn comes.
std::string common_controls(const std::vector<SourceEntry>& sources) {
  for (const SourceEntry& source : sources) {
    try {
      return actions_of(source).describe_controls();
    } catch (const Error&) {
      continue;
    }
  }
  return "controls";
}

/// FNV-1a over everything of the list that the rows depend on.
std::string hash_sources(const std::vector<SourceEntry>& sources) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&hash](const std::string& text) {
    for (const char letter : text + '\0') {
      hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
    }
  };
  for (const SourceEntry& source : sources) {
    add(source.id);
    for (const std::string& caption : source.captions) add(caption);
    add(fmt::format("{}", source.start_sec));
    if (!source.actions_file.empty()) add(source.actions_file.string());
  }
  return fmt::format("{:016x}", hash);
}

nlohmann::json describe_settings(const std::vector<SourceEntry>& sources,
                                 const PreprocessOptions& options) {
  nlohmann::json settings = {{"format", 1},
                             {"schema", options.schema},
                             {"encoder", options.encoder_name},
                             {"num_sources", sources.size()},
                             {"sources", hash_sources(sources)},
                             {"rows_per_file", options.rows_per_file},
                             {"shard", fmt::format("{}/{}", options.shard, options.num_shards)}};
  if (options.text_only()) return settings;
  settings["fps"] = options.clips.fps;
  settings["num_frames"] = options.clips.num_frames;
  settings["clip_stride"] = options.clips.clip_stride;
  if (options.clips.controls) settings["controls"] = *options.clips.controls;
  settings["max_clips"] = options.clips.max_clips.value_or(0);
  std::vector<std::string> buckets;
  for (const Bucket& bucket : options.clips.buckets) {
    buckets.push_back(fmt::format("{}x{}", bucket.height, bucket.width));
  }
  settings["buckets"] = buckets;
  return settings;
}

void remove_leftovers(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) {
    if (file.path().filename().string().find(".partial-") != std::string::npos) {
      leftovers.push_back(file.path());
    }
  }
  for (const fs::path& path : leftovers) fs::remove(path);
}

/// One run over one shard.
class Run {
 public:
  Run(const std::vector<SourceEntry>& sources, const PreprocessOptions& options, Manifest& manifest,
      SampleEncoder& encoder)
      : sources_(sources),
        options_(options),
        manifest_(manifest),
        rows_(parquet_schema(options.schema), encoder, options.clips.fps,
              options.clips.max_clips == 1),
        writer_(options.output / fmt::format("worker_{}", options.shard),
                parquet_schema(options.schema), options.rows_per_file, manifest.num_chunks()),
        progress_("preprocess", std::ssize(sources), options.text_only() ? "captions" : "videos",
                  manifest.next_entry()) {}

  void encode_videos() {
    ClipSource clips(sources_, {manifest_.next_entry(), manifest_.next_clip()}, options_.clips);
    while (std::optional<ClipEvent> event = clips.next()) {
      const SourceEntry& source = sources_[static_cast<size_t>(event->place.entry)];
      if (event->pixels_FHWC.defined()) {
        add_row(rows_.clip_row(source, *event), event->place.entry, event->place.clip + 1);
        continue;
      }
      if (!event->fault.empty()) reject(source, event->fault, event->place.clip);
      progress_.advance();
    }
    finish();
  }

  void encode_texts() {
    int64_t first_caption = manifest_.next_clip();
    for (int64_t entry = manifest_.next_entry(); entry < std::ssize(sources_); ++entry) {
      const SourceEntry& source = sources_[static_cast<size_t>(entry)];
      const int64_t num_captions = std::ssize(source.captions);
      if (num_captions == 0) reject(source, "must have a caption, but has none", 0);
      for (int64_t caption = first_caption; caption < num_captions; ++caption) {
        add_row(rows_.text_row(source, caption), entry, caption + 1);
      }
      first_caption = 0;
      progress_.advance();
    }
    finish();
  }

 private:
  void add_row(ParquetRow row, int64_t entry, int64_t next_clip) {
    const int64_t num_waiting = writer_.num_waiting_rows() + 1;
    if (writer_.append(std::move(row))) manifest_.commit_chunk(num_waiting, entry, next_clip);
  }

  void finish() {
    const int64_t num_waiting = writer_.num_waiting_rows();
    if (writer_.flush()) manifest_.commit_chunk(num_waiting, std::ssize(sources_), 0);
    manifest_.commit_end(std::ssize(sources_));
    progress_.finish();
  }

  void reject(const SourceEntry& source, const std::string& reason, int64_t num_rows_kept) {
    manifest_.add_reject({source.id, source.video.string(), reason, num_rows_kept});
    progress_.print(fmt::format("preprocess: rejected {}: {}", source.id, reason));
  }

  const std::vector<SourceEntry>& sources_;
  const PreprocessOptions& options_;
  Manifest& manifest_;
  RowBuilder rows_;
  ParquetChunkWriter writer_;
  Progress progress_;
};

}  // namespace

PreprocessSummary preprocess(std::vector<SourceEntry> sources, PreprocessOptions options,
                             const EncoderFactory& make_encoder) {
  const ParquetSchema& schema = parquet_schema(options.schema);
  options.clips.needs_caption = schema.has_tensor("text_embedding");
  if (schema.has_tensor("keyboard_cond")) options.clips.controls = common_controls(sources);
  sources = take_shard(std::move(sources), options);
  PreprocessSummary summary;
  summary.folder = options.output / fmt::format("worker_{}", options.shard);
  const FolderLock lock(summary.folder);
  Manifest manifest(summary.folder, describe_settings(sources, options));
  summary.was_finished = manifest.finished();
  if (!manifest.finished()) {
    remove_leftovers(summary.folder);
    if (manifest.num_chunks() > 0) {
      log_info("preprocess: going on after {} files with {} rows", manifest.num_chunks(),
               manifest.num_rows());
    }
    const std::unique_ptr<SampleEncoder> encoder = make_encoder();
    Run run(sources, options, manifest, *encoder);
    if (options.text_only()) {
      run.encode_texts();
    } else {
      run.encode_videos();
    }
  }
  summary.num_sources = std::ssize(sources);
  summary.num_complete = summary.num_sources - std::ssize(manifest.rejects());
  summary.num_rows = manifest.num_rows();
  summary.rejects = manifest.rejects();
  summary.rejects_path = manifest.rejects_path();
  return summary;
}

}  // namespace zoetrope
