#include "zoetrope/kernels/column_sums.h"

#include <ATen/ATen.h>

#include "zoetrope/kernels/bf16.h"
#include "zoetrope/kernels/row_chunks.h"

namespace zoetrope::kernels {
namespace {

template <class T>
void column_sums_of(const at::Tensor& tensor, const at::Tensor& result) {
  const auto* x = data<T>(tensor);
  const int64_t stride = tensor.stride(0);
  const int64_t width = tensor.size(1);
  const Chunks chunks(rows_of(tensor));
  const ColumnSums sums(chunks, 1);
  chunks.for_each([&](const Chunk& chunk) {
    float* sum_out = sums.begin(chunk, 0);
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      const T* __restrict__ source = x + row * stride;
      float* __restrict__ sum = sum_out;
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) sum[j] += to_float(source[j]);
    });
  });
  sums.finish(0, result);
}

template <class T>
void add_sums_of(const at::Tensor& target, const at::Tensor& sums) {
  auto* __restrict__ values = data<T>(target);
  const auto* __restrict__ added = data<float>(sums);
  run_vectorized([ =, count = sums.numel() ]() __attribute__((always_inline)) {
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) store(values[j], to_float(values[j]) + added[j]);
  });
}

}  // namespace

at::Tensor column_sums(const at::Tensor& x) {
  at::Tensor result = at::empty({1, x.size(1)}, at::kFloat);
  is_bf16(x) ? column_sums_of<Bf16>(x, result) : column_sums_of<float>(x, result);
  return result;
}

void add_sums(const at::Tensor& target, const at::Tensor& sums) {
  is_bf16(target) ? add_sums_of<Bf16>(target, sums) : add_sums_of<float>(target, sums);
}

}  // namespace zoetrope::kernels
