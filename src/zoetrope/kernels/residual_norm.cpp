#include "zoetrope/kernels/residual_norm.h"

#include <cmath>

#include <ATen/ATen.h>

#include "zoetrope/kernels/gated_rows.h"
#include "zoetrope/kernels/row_chunks.h"

namespace zoetrope::kernels {
namespace {

struct RowStatistics {
  float mean;
  float inverse_deviation;
};

inline __attribute__((always_inline)) RowStatistics statistics_of(const float* x, int64_t width,
                                                                  float eps) {
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < width; ++j) total += x[j];
  const float mean = total / static_cast<float>(width);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t j = 0; j < width; ++j) squares += (x[j] - mean) * (x[j] - mean);
  return {mean, 1.0F / std::sqrt(squares / static_cast<float>(width) + eps)};
}

/// A group's multiplier and shift; null for 1 and 0.
struct Modulation {
  const float* multiplier;
  const float* shift;
};

template <class T>
inline __attribute__((always_inline)) void normalize_row(const float* x, RowStatistics statistics,
                                                         Modulation modulation, T* out,
                                                         int64_t width) {
  const float mean = statistics.mean;
  const float inverse = statistics.inverse_deviation;
  const float* multiplier = modulation.multiplier;
  const float* shift = modulation.shift;
  if (multiplier == nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) store(out[j], (x[j] - mean) * inverse);
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < width; ++j)
    store(out[j], (x[j] - mean) * inverse * multiplier[j] + shift[j]);
}

template <class T>
void residual_norm_of(const RowShape& shape, const ResidualNorm& o, float eps) {
  const auto* hidden = data<float>(o.hidden);
  const auto* branch = data<T>(o.branch);
  auto* sum = branch == nullptr ? nullptr : data<float>(o.sum);
  auto* normed = data<T>(o.normed);
  auto* mean = data<float>(o.mean);
  auto* inverse = data<float>(o.inverse_deviation);
  const int64_t width = shape.width;
  Chunks(shape).for_each([&](const Chunk& chunk) {
    const float* gate = row_of(o.gate, chunk.group, width);
    const Modulation modulation{row_of(o.multiplier, chunk.group, width),
                                row_of(o.shift, chunk.group, width)};
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      const float* x = hidden + row * width;
      if (branch != nullptr) {
        add_gated_row(x, branch + row * width, gate, sum + row * width, width);
        x = sum + row * width;
      }
      const RowStatistics statistics = statistics_of(x, width, eps);
      normalize_row(x, statistics, modulation, normed + row * width, width);
      mean[row] = statistics.mean;
      inverse[row] = statistics.inverse_deviation;
    });
  });
}

/// Per-row operands of the gradient of a norm; all pointers are at the row.
template <class T>
struct NormRow {
  const float* x;
  const T* d_normed;
  const float* d_direct;
  const float* multiplier;
  float* d_hidden;
  float* d_multiplier;
  float* d_shift;
};

template <class T>
inline __attribute__((always_inline)) void norm_backward_row(const NormRow<T>& row, int64_t width,
                                                             RowStatistics statistics) {
  const float mean = statistics.mean;
  const float inverse = statistics.inverse_deviation;
  const float* __restrict__ x = row.x;
  const T* __restrict__ d_normed = row.d_normed;
  const float* __restrict__ multiplier = row.multiplier;
  float* __restrict__ d_multiplier = row.d_multiplier;
  float* __restrict__ d_shift = row.d_shift;
  float sum = 0;
  float dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (int64_t j = 0; j < width; ++j) {
    const float d = to_float(d_normed[j]);
    const float normalized = (x[j] - mean) * inverse;
    d_shift[j] += d;
    d_multiplier[j] += d * normalized;
    const float scaled = d * multiplier[j];
    sum += scaled;
    dot += scaled * normalized;
  }
  const float mean_d = sum / static_cast<float>(width);
  const float mean_dot = dot / static_cast<float>(width);
  const float* d_direct = row.d_direct;
  float* d_hidden = row.d_hidden;
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) {
    const float d = to_float(d_normed[j]) * multiplier[j];
    d_hidden[j] = d_direct[j] + inverse * (d - mean_d - (x[j] - mean) * inverse * mean_dot);
  }
}

template <class T>
void residual_norm_backward_of(const RowShape& shape, const ResidualNorm& o,
                               const ResidualNormGradient& g) {
  const int64_t width = shape.width;
  const bool has_branch = o.branch.defined();
  const auto* x = data<float>(has_branch ? o.sum : o.hidden);
  const auto* branch = data<T>(o.branch);
  const auto* mean = data<float>(o.mean);
  const auto* inverse = data<float>(o.inverse_deviation);
  const auto* d_normed = data<T>(g.d_normed);
  const auto* d_direct = data<float>(g.d_sum_direct);
  auto* d_hidden = data<float>(g.d_hidden);
  auto* d_branch = data<T>(g.d_branch);
  // A choice inside the loops would become masked loads through a null pointer: twenty times
  // slower.
  const at::Tensor multipliers = o.multiplier.defined() ? o.multiplier : at::ones({1, width});
  const Chunks chunks(shape);
  const ColumnSums sums(chunks, 4);
  chunks.for_each([&](const Chunk& chunk) {
    const float* gate = row_of(o.gate, chunk.group, width);
    const float* multiplier = row_of(multipliers, chunk.group, width);
    float* d_multiplier = sums.begin(chunk, 0);
    float* d_shift = sums.begin(chunk, 1);
    float* d_gate = sums.begin(chunk, 2);
    float* d_branch_sum = sums.begin(chunk, 3);
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      const int64_t at = row * width;
      const NormRow<T> norm{x + at,        d_normed + at, d_direct + at, multiplier,
                            d_hidden + at, d_multiplier,  d_shift};
      norm_backward_row(norm, width, {mean[row], inverse[row]});
      if (branch == nullptr) return;
      const BranchRow<T> gated{d_hidden + at, branch + at, gate,
                               d_branch + at, d_gate,      d_branch_sum};
      branch_backward_row(gated, width);
    });
  });
  sums.finish(0, g.d_multiplier);
  sums.finish(1, g.d_shift);
  if (o.gate.defined()) sums.finish(2, g.d_gate);
  if (has_branch) sums.finish(3, g.d_branch_sum);
}

}  // namespace

void residual_norm(const RowShape& shape, const ResidualNorm& operands, double eps) {
  const auto small = static_cast<float>(eps);
  is_bf16(operands.normed) ? residual_norm_of<Bf16>(shape, operands, small)
                           : residual_norm_of<float>(shape, operands, small);
}

void residual_norm_backward(const RowShape& shape, const ResidualNorm& operands,
                            const ResidualNormGradient& gradient) {
  is_bf16(gradient.d_normed) ? residual_norm_backward_of<Bf16>(shape, operands, gradient)
                             : residual_norm_backward_of<float>(shape, operands, gradient);
}

}  // namespace zoetrope::kernels
