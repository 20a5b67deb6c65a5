// Videos or captions in, parquet files out: decodes, encodes and writes in a fixed order, so that a
// run that was stopped at any point goes on and ends with the same files. Every source ends as rows
// or in the list of rejects. Knows the networks only as a SampleEncoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "zoetrope/data/preprocess/clip_source.h"
#include "zoetrope/data/preprocess/manifest.h"
#include "zoetrope/data/preprocess/sample_encoder.h"
#include "zoetrope/data/preprocess/source_list.h"

namespace zoetrope {

struct PreprocessOptions {
  std::filesystem::path output;  ///< files go to `output`/worker_<shard>/
  std::string encoder_name;      ///< names the encoder in the manifest: other weights, other rows
  /// What is written: `t2v`, `i2v`, `matrixgame2` or `text_only` (see parquet_schemas()).
  std::string schema = "t2v";
  ClipSourceOptions clips;  ///< what the schema needs of clips is set by preprocess()
  int64_t rows_per_file = 32;
  int64_t shard = 0;  ///< which part of the sources: those with index % num_shards == shard
  int64_t num_shards = 1;

  bool text_only() const { return schema == "text_only"; }
};

struct PreprocessSummary {
  int64_t num_sources = 0;   ///< of this shard
  int64_t num_complete = 0;  ///< sources that gave all their rows
  int64_t num_rows = 0;
  std::vector<Reject> rejects;         ///< the other sources
  std::filesystem::path folder;        ///< where the files are
  std::filesystem::path rejects_path;  ///< where the rejects are listed
  bool was_finished = false;           ///< nothing was left to do
};

using EncoderFactory = std::function<std::unique_ptr<SampleEncoder>()>;

/// Does what is left of the work. `make_encoder` is called only when something is left. Throws what
/// Manifest throws, and Error when another process is writing the same shard's folder or a file
/// cannot be written (the run can then be repeated).
PreprocessSummary preprocess(std::vector<SourceEntry> sources, PreprocessOptions options,
                             const EncoderFactory& make_encoder);

}  // namespace zoetrope
