// One parquet file with rows of a ParquetSchema: opened and checked against the schema, then read
// by row group and row. Knows no order, no batches and no other file. Rows may be read from several
// threads at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "zoetrope/data/parquet_schema.h"

namespace zoetrope {

/// A row group in memory.
class RowGroup {
 public:
  virtual ~RowGroup() = default;
  virtual int64_t num_rows() const = 0;
  virtual int64_t num_bytes() const = 0;
  /// Row `row` of this group. Throws DataError that names the sample, its file and its row in the
  /// file when a value is missing, when the bytes do not fit shape and dtype, or when a number is
  /// not finite.
  virtual ParquetRow row(int64_t row) const = 0;
};

/// The schema that a file's columns fit best: of those whose required columns are all there, the
/// one with the most columns. Throws DataError naming the file when it cannot be read or fits none.
const ParquetSchema& detect_parquet_schema(const std::filesystem::path& path);

class ParquetFile {
 public:
  /// Reads the footer only. Throws DataError naming the file when it is missing, damaged, or lacks
  /// a column of `schema` (which must outlive this), or when a column has another type.
  ParquetFile(std::filesystem::path path, const ParquetSchema& schema);
  ~ParquetFile();
  ParquetFile(ParquetFile&&) noexcept;
  ParquetFile& operator=(ParquetFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  int64_t num_rows() const { return row_group_starts_.back(); }
  int64_t num_row_groups() const { return static_cast<int64_t>(row_group_starts_.size()) - 1; }
  /// First row of each group, and the number of rows at the end.
  const std::vector<int64_t>& row_group_starts() const { return row_group_starts_; }

  /// Reads and checks one group; page checksums are verified where the file has them. Throws
  /// DataError naming the file when the data are damaged. Safe to call from several threads.
  std::shared_ptr<const RowGroup> read_row_group(int64_t index) const;

 private:
  struct Footer;

  std::filesystem::path path_;
  const ParquetSchema* schema_;
  std::unique_ptr<Footer> footer_;
  std::vector<int64_t> row_group_starts_;
};

}  // namespace zoetrope
