// Matrix multiplication on the CPU with our own packed AVX-512 kernel, fp32 or bf16 operands and
// fp32 sums, with the bias, GELU and accumulation of a linear layer in the same pass. at::mm is its
// twin in tests. The same bits come out for any number of threads. Knows no autograd.
#pragma once

#include <cstdint>

#include "zoetrope/kernels/packed_tiles.h"

namespace zoetrope::kernels {

/// True when this processor can run packed_matmul for `element`.
bool has_packed_matmul(Element element);

/// A read-only operand [rows, columns]; one of the strides is 1.
struct Matrix {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_stride = 0;
  int64_t column_stride = 1;

  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
};

/// output.target [a.rows, b.columns] = a * b (with what `output` says); `element` is the type of
/// both operands.
void packed_matmul(Element element, const Matrix& a, const Matrix& b, const TileOutput& output);

}  // namespace zoetrope::kernels
