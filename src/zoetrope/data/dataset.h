// Parquet files of several folders as one numbered list of rows. Knows the order of files and where
// a row is, keeps a few row groups in memory; knows no shuffling and no batches. Source:
// fastvideo/dataset/parquet_dataset_map_style.py (order of files; its pickle cache is not used or
// written).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "zoetrope/data/batch.h"
#include "zoetrope/data/data_config.h"
#include "zoetrope/data/parquet_file.h"

namespace zoetrope {

/// Rows of `sources`, counted file by file until there are `enough`; reads footers only. Throws
/// DataError as ParquetDataset.
int64_t count_rows(const std::vector<DataSource>& sources, int64_t enough);

class ParquetDataset {
 public:
  /// Finds the files (recursively, sorted by real path; a source may also be one file), reads their
  /// footers and checks their columns. `cache_bytes` bounds the row groups kept in memory (at least
  /// one is kept). `schema` must outlive this. Throws DataError naming the folder when there is no
  /// file or no row, and as ParquetFile does.
  ParquetDataset(const std::vector<DataSource>& sources, const ParquetSchema& schema,
                 int64_t cache_bytes = int64_t{1} << 30);
  ~ParquetDataset();
  ParquetDataset(const ParquetDataset&) = delete;
  ParquetDataset& operator=(const ParquetDataset&) = delete;

  const ParquetSchema& schema() const { return schema_; }
  const std::vector<DataSource>& sources() const { return sources_; }
  int64_t num_rows() const { return starts_.back(); }
  /// Files in the order of rows; a repeated folder's files stand there several times.
  const std::vector<std::filesystem::path>& files() const { return files_; }
  /// Rows of each of files().
  std::vector<int64_t> lengths() const;

  /// Row `index` of the whole list. Safe to call from several threads. Throws DataError that names
  /// the sample.
  ParquetRow read(int64_t index) const;
  /// Where row `index` is: the file and its row there.
  std::pair<std::filesystem::path, int64_t> locate(int64_t index) const;

 private:
  class Cache;
  struct Place {
    size_t file = 0;
    int64_t row = 0;
  };
  Place place_of(int64_t index) const;

  const ParquetSchema& schema_;
  std::vector<DataSource> sources_;
  std::vector<std::filesystem::path> files_;
  std::vector<ParquetFile> opened_;   // one for each distinct file
  std::vector<size_t> opened_index_;  // of each of files_
  std::vector<int64_t> starts_;       // first row of each of files_, and the total
  std::unique_ptr<Cache> cache_;
};

}  // namespace zoetrope
