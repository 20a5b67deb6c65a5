// The rows that a row kernel walks over. Knows no tensors.
#pragma once

#include <cstdint>

namespace zoetrope::kernels {

/// Rows of `width` numbers; consecutive runs of rows_per_group rows share one row of each per-group
/// operand.
struct RowShape {
  int64_t rows;
  int64_t width;
  int64_t rows_per_group;

  int64_t num_groups() const { return rows / rows_per_group; }
};

}  // namespace zoetrope::kernels
