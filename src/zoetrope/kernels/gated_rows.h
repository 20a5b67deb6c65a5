// One row of hidden + gate * branch and of its gradient, for the kernels that fuse it with other
// work. Loops vectorise; the caller chooses the vectors (vector_dispatch.h). Internal to kernels/.
#pragma once

#include <cstdint>

#include "zoetrope/kernels/bf16.h"

namespace zoetrope::kernels {

/// sum = hidden + gate * branch; a null gate is 1.
template <class T>
inline __attribute__((always_inline)) void add_gated_row(const float* hidden, const T* branch,
                                                         const float* gate, float* sum,
                                                         int64_t width) {
  if (gate == nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) sum[j] = hidden[j] + to_float(branch[j]);
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) sum[j] = hidden[j] + gate[j] * to_float(branch[j]);
}

/// Pointers at one row of a gated branch; those of a gate may be null.
template <class T>
struct BranchRow {
  const float* d_sum;
  const T* branch;
  const float* gate;
  T* d_branch;          ///< written
  float* d_gate;        ///< added to
  float* d_branch_sum;  ///< added to
};

template <class T>
inline __attribute__((always_inline)) void branch_backward_row(const BranchRow<T>& row,
                                                               int64_t width) {
  const float* __restrict__ d_sum = row.d_sum;
  T* __restrict__ d_branch = row.d_branch;
  float* __restrict__ d_branch_sum = row.d_branch_sum;
  if (row.gate == nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) {
      store(d_branch[j], d_sum[j]);
      d_branch_sum[j] += d_sum[j];
    }
    return;
  }
  const T* __restrict__ branch = row.branch;
  const float* __restrict__ gate = row.gate;
  float* __restrict__ d_gate = row.d_gate;
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) {
    const float d = d_sum[j] * gate[j];
    store(d_branch[j], d);
    d_branch_sum[j] += d;
    d_gate[j] += d_sum[j] * to_float(branch[j]);
  }
}

}  // namespace zoetrope::kernels
