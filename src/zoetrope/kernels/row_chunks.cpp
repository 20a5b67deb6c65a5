#include "zoetrope/kernels/row_chunks.h"

#include <ATen/ATen.h>

#include "zoetrope/kernels/packed_tiles.h"

namespace zoetrope::kernels {
namespace {

constexpr int64_t kChunkRows = 32;  // rows whose column sums make one partial result
constexpr int64_t kOneThreadElements =
    100'000;  // below this, waking a second thread costs more than it does

}  // namespace

RowShape rows_of(const at::Tensor& matrix) {
  return {matrix.size(0), matrix.size(1), matrix.size(0)};
}

bool is_bf16(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16;
}

const float* row_of(const at::Tensor& groups, int64_t group, int64_t width) {
  if (!groups.defined()) return nullptr;
  return groups.const_data_ptr<float>() + (groups.size(0) == 1 ? 0 : group) * width;
}

Chunks::Chunks(const RowShape& shape)
    : shape_(shape),
      per_group_(ceil_div(shape.rows_per_group, kChunkRows)),
      count_(shape.num_groups() * per_group_),
      small_(shape.rows * shape.width < kOneThreadElements) {}

Chunk Chunks::at(int64_t index) const {
  const int64_t group = index / per_group_;
  const int64_t first = group * shape_.rows_per_group + index % per_group_ * kChunkRows;
  const int64_t group_end = (group + 1) * shape_.rows_per_group;
  return {index, group, first, std::min(first + kChunkRows, group_end)};
}

ColumnSums::ColumnSums(const Chunks& chunks, int64_t num_quantities)
    : num_chunks_(chunks.count()),
      num_quantities_(num_quantities),
      width_(chunks.width()),
      partial_(at::empty({num_chunks_ * num_quantities * width_}, at::kFloat)) {}

float* ColumnSums::partial_of(int64_t chunk, int64_t quantity) const {
  return partial_.mutable_data_ptr<float>() + (chunk * num_quantities_ + quantity) * width_;
}

float* ColumnSums::begin(const Chunk& chunk, int64_t quantity) const {
  float* sums = partial_of(chunk.index, quantity);
  std::fill(sums, sums + width_, 0.0F);
  return sums;
}

void ColumnSums::finish(int64_t quantity, const at::Tensor& target) const {
  if (!target.defined()) return;
  float* result = target.mutable_data_ptr<float>();
  const int64_t num_targets = target.size(0);
  const int64_t per_target = num_chunks_ / num_targets;
  for (int64_t group = 0; group < num_targets; ++group) {
    float* __restrict__ row = result + group * width_;
    std::fill(row, row + width_, 0.0F);
    for (int64_t i = 0; i < per_target; ++i) {
      const float* __restrict__ source = partial_of(group * per_target + i, quantity);
      run_vectorized([ =, width = width_ ]() __attribute__((always_inline)) {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) row[j] += source[j];
      });
    }
  }
}

}  // namespace zoetrope::kernels
