// The book of a preprocessing run: what was asked for, which files are finished, where the work
// goes on, and what was rejected. It is written after each finished file, whole or not at all, so a
// run that was killed loses no finished file and doubles no row. Knows no video and no tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace zoetrope {

/// A source that gave no rows, or fewer than it should have.
struct Reject {
  std::string id;
  std::string source;
  std::string reason;
  int64_t num_rows_kept = 0;
};

class Manifest {
 public:
  /// Opens `folder`/manifest.jsonl, or makes the folder with a new one. `settings` is everything
  /// that the rows depend on. Throws DataError when rows were made with other settings (listing
  /// them), or when the folder holds parquet files but no manifest.
  Manifest(std::filesystem::path folder, nlohmann::json settings);

  int64_t num_chunks() const { return num_chunks_; }
  int64_t num_rows() const { return num_rows_; }
  int64_t next_entry() const { return next_entry_; }
  int64_t next_clip() const { return next_clip_; }
  bool finished() const { return finished_; }
  const std::vector<Reject>& rejects() const { return rejects_; }
  std::filesystem::path rejects_path() const { return folder_ / "rejects.jsonl"; }

  /// Takes note of a reject; stored with the next commit.
  void add_reject(Reject reject) { rejects_.push_back(std::move(reject)); }
  /// A chunk with `num_rows` rows is on disk and the work goes on at (entry, clip).
  void commit_chunk(int64_t num_rows, int64_t next_entry, int64_t next_clip);
  /// All `num_entries` sources are done.
  void commit_end(int64_t num_entries);

 private:
  void load();
  void save() const;

  std::filesystem::path folder_;
  nlohmann::json settings_;
  int64_t num_chunks_ = 0;
  int64_t num_rows_ = 0;
  int64_t next_entry_ = 0;
  int64_t next_clip_ = 0;
  bool finished_ = false;
  std::vector<Reject> rejects_;
};

}  // namespace zoetrope
