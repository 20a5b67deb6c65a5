// Writes rows as FastVideo-compatible parquet files: `data_chunk_<n>.parquet` with a fixed number
// of rows, zstd, page checksums, each file appearing at once or not at all. Does not know where
// rows come from. Source: fastvideo/dataset/dataloader/parquet_io.py (layout).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "zoetrope/data/parquet_schema.h"

namespace zoetrope {

/// Writes `rows` to `path`, atomically. Tensors are stored in their own dtype (bf16 as `bfloat16`);
/// row groups are kept small so that a random row is cheap to read. Throws DataError when a row
/// lacks a required value, and Error naming the path and the cause when writing fails (such as a
/// full disk).
void write_parquet_file(const std::filesystem::path& path, const ParquetSchema& schema,
                        const std::vector<ParquetRow>& rows);

/// Collects rows into numbered files of one folder.
class ParquetChunkWriter {
 public:
  /// The folder is made if needed. `first_chunk`: number of the first file to write. `schema` must
  /// outlive this.
  ParquetChunkWriter(std::filesystem::path folder, const ParquetSchema& schema,
                     int64_t rows_per_file, int64_t first_chunk = 0);

  /// Adds a row; returns the file that it completed, if any.
  std::optional<std::filesystem::path> append(ParquetRow row);
  /// Writes the rows that wait, as a shorter last file; returns it, or nothing when none wait.
  std::optional<std::filesystem::path> flush();

  int64_t num_waiting_rows() const { return static_cast<int64_t>(rows_.size()); }

 private:
  std::filesystem::path folder_;
  const ParquetSchema* schema_;
  int64_t rows_per_file_;
  int64_t next_chunk_;
  std::vector<ParquetRow> rows_;
};

}  // namespace zoetrope
