// From Arrow's columns to ParquetRow: the one place that knows how FastVideo lays a tensor out in
// columns. Internal to data/ (it shows Arrow's types).
#pragma once

#include <cstdint>
#include <string>

#include <arrow/type_fwd.h>

#include "zoetrope/data/parquet_schema.h"

namespace zoetrope {

/// Throws DataError naming `file` and listing every required column that is missing and every
/// column of a wrong type.
void check_columns(const arrow::Schema& stored, const ParquetSchema& schema,
                   const std::string& file);

/// Decodes rows of tables that came out of one row group of `file`.
class RowDecoder {
 public:
  /// `first_row`: the file's row that is row 0 of the tables, for messages.
  RowDecoder(const ParquetSchema& schema, std::string file, int64_t first_row)
      : schema_(&schema), file_(std::move(file)), first_row_(first_row) {}

  /// Throws DataError that names the sample.
  ParquetRow decode(const arrow::Table& table, int64_t row) const;

 private:
  at::Tensor decode_tensor(const arrow::Table& table, const TensorColumn& column, int64_t row,
                           const std::string& sample) const;
  void decode_plain(const arrow::Table& table, int64_t row, ParquetRow& decoded) const;

  const ParquetSchema* schema_;
  std::string file_;
  int64_t first_row_;
};

/// `sample 'video_0008' (row 3 of data/worker_0/data_chunk_1.parquet)`.
std::string describe_sample(const std::string& id, const std::string& file, int64_t row);

}  // namespace zoetrope
