// FastVideo's parquet schemas as tables: which tensors and which plain columns a row has, in which
// order. A tensor is stored as three columns, `<name>_bytes` (binary), `<name>_shape` (list of
// int64) and `<name>_dtype` (text). Knows neither Arrow nor files. Source:
// fastvideo/dataset/dataloader/schema.py.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

enum class PlainKind { kText, kInteger, kNumber };

struct PlainColumn {
  std::string name;
  PlainKind kind = PlainKind::kText;
  bool required = false;  ///< a file without the column is refused
};

struct TensorColumn {
  std::string name;
  int64_t num_dims = 0;  ///< 0: any
  bool required = true;  ///< a file without the columns, or a row without the bytes, is refused
};

/// The columns of one kind of data set. Files have `plain.front()` (the id) first, then the
/// tensors, then the rest.
struct ParquetSchema {
  std::string name;
  std::vector<TensorColumn> tensors;
  std::vector<PlainColumn> plain;

  bool has_tensor(std::string_view tensor) const;
};

/// Every schema: `t2v`, `t2va`, `i2v`, `text_only`, `ode_trajectory_text_only`, `matrixgame2`,
/// `matrixgame2_ode_trajectory`.
const std::vector<ParquetSchema>& parquet_schemas();

/// The schema called `name`. Throws DataError that lists the known names.
const ParquetSchema& parquet_schema(std::string_view name);

/// One row in memory: tensors (read as fp32 on the CPU, whatever was stored) and plain values by
/// column name. Optional values that a file lacks are absent.
struct ParquetRow {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> texts;
  std::map<std::string, int64_t> integers;
  std::map<std::string, double> numbers;

  /// The text column `name`, or an empty text when the row has none.
  const std::string& text(const std::string& name) const;
};

}  // namespace zoetrope
