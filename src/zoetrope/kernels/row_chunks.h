// What the row kernels share: rows cut into chunks that threads take one by one, and column sums
// over them whose order of addition does not depend on the number of threads. Internal to kernels/.
#pragma once

#include <algorithm>
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "zoetrope/kernels/row_shape.h"
#include "zoetrope/kernels/tensor_data.h"
#include "zoetrope/kernels/vector_dispatch.h"
#include "zoetrope/kernels/work_sharing.h"

namespace zoetrope::kernels {

/// A matrix of rows without groups.
RowShape rows_of(const at::Tensor& matrix);

bool is_bf16(const at::Tensor& tensor);

/// The row of a per-group operand (fp32 [num_groups or 1, width]) that `group` uses; null when it
/// is undefined.
const float* row_of(const at::Tensor& groups, int64_t group, int64_t width);

/// Rows [first_row, last_row) of one group.
struct Chunk {
  int64_t index;
  int64_t group;
  int64_t first_row;
  int64_t last_row;

  /// Calls body(row), a lambda marked __attribute__((always_inline)), with the widest vectors.
  template <class Body>
  void for_each_row(const Body& body) const {
    run_vectorized([ body, first = first_row, last = last_row ]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) body(row);
    });
  }
};

/// Rows cut into chunks that never span two groups; the cut does not depend on the number of
/// threads.
class Chunks {
 public:
  explicit Chunks(const RowShape& shape);

  int64_t count() const { return count_; }
  int64_t width() const { return shape_.width; }

  /// Calls body(Chunk) for every chunk, on several threads when that pays.
  template <class Body>
  void for_each(const Body& body) const {
    share_work(count_, small_, [&](WorkQueue& queue) {
      for (int64_t i = queue.next(); i >= 0; i = queue.next()) body(at(i));
    });
  }

 private:
  Chunk at(int64_t index) const;

  RowShape shape_;
  int64_t per_group_;
  int64_t count_;
  bool small_;
};

/// Column sums of several quantities: one partial row per chunk, added up in a fixed order.
class ColumnSums {
 public:
  ColumnSums(const Chunks& chunks, int64_t num_quantities);

  /// Zeroed sums [width] of one chunk.
  float* begin(const Chunk& chunk, int64_t quantity) const;

  /// Adds the chunks of each group up into target [num_groups, width] (or [1, width]); nothing when
  /// target is undefined.
  void finish(int64_t quantity, const at::Tensor& target) const;

 private:
  float* partial_of(int64_t chunk, int64_t quantity) const;

  int64_t num_chunks_;
  int64_t num_quantities_;
  int64_t width_;
  at::Tensor partial_;
};

}  // namespace zoetrope::kernels
