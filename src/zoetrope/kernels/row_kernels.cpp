#include "zoetrope/kernels/row_kernels.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "zoetrope/kernels/bf16.h"
#include "zoetrope/kernels/packed_tiles.h"
#include "zoetrope/kernels/vector_dispatch.h"
#include "zoetrope/kernels/work_sharing.h"

namespace zoetrope::kernels {
namespace {

constexpr int64_t kChunkRows = 32;  // rows whose column sums make one partial result
constexpr int64_t kOneThreadElements =
    100'000;  // below this, waking a second thread costs more than it does

template <class T>
T* data(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

/// Rows cut into chunks that never span two groups; the cut does not depend on the number of
/// threads.
class Chunks {
 public:
  explicit Chunks(const RowShape& shape)
      : shape_(shape),
        per_group_(ceil_div(shape.rows_per_group, kChunkRows)),
        count_(shape.num_groups() * per_group_) {}

  int64_t count() const { return count_; }
  int64_t per_group() const { return per_group_; }
  int64_t first_row(int64_t chunk) const {
    return chunk / per_group_ * shape_.rows_per_group + chunk % per_group_ * kChunkRows;
  }
  int64_t last_row(int64_t chunk) const {
    return std::min(first_row(chunk) + kChunkRows,
                    (chunk / per_group_ + 1) * shape_.rows_per_group);
  }

  template <class Body>
  void for_each(const Body& body) const {
    share_work(count_, shape_.rows * shape_.width < kOneThreadElements, [&](WorkQueue& queue) {
      for (int64_t chunk = queue.next(); chunk >= 0; chunk = queue.next()) body(chunk);
    });
  }

 private:
  const RowShape& shape_;
  int64_t per_group_;
  int64_t count_;
};

/// Column sums of several quantities: one partial row per chunk, added up in a fixed order.
class ColumnSums {
 public:
  ColumnSums(const Chunks& chunks, int64_t num_quantities, int64_t width)
      : chunks_(chunks),
        num_quantities_(num_quantities),
        width_(width),
        partial_(at::empty({chunks.count() * num_quantities * width}, at::kFloat)) {}

  /// Zeroed sums of one chunk.
  float* begin(int64_t chunk, int64_t quantity) const {
    float* sums = partial_of(chunk, quantity);
    std::fill(sums, sums + width_, 0.0F);
    return sums;
  }

  /// Adds the chunks of each group up into target [num_groups, width] (or [1, width]).
  void finish(int64_t quantity, const at::Tensor& target) const {
    if (!target.defined()) return;
    float* result = target.mutable_data_ptr<float>();
    const int64_t num_targets = target.size(0);
    const int64_t per_target = chunks_.count() / num_targets;
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

 private:
  float* partial_of(int64_t chunk, int64_t quantity) const {
    return partial_.mutable_data_ptr<float>() + (chunk * num_quantities_ + quantity) * width_;
  }

  const Chunks& chunks_;
  int64_t num_quantities_;
  int64_t width_;
  at::Tensor partial_;
};

/// The row of a per-group operand that `group` uses; a single row serves every group.
const float* row_of(const at::Tensor& groups, int64_t group, int64_t width) {
  if (!groups.defined()) return nullptr;
  return groups.const_data_ptr<float>() + (groups.size(0) == 1 ? 0 : group) * width;
}

// ---- one row each; all loops vectorise
// -----------------------------------------------------------------------------

template <class T>
inline __attribute__((always_inline)) void add_gated_row(const float* hidden, const T* branch,
                                                         const float* gate, float* sum,
                                                         int64_t width) {
  if (gate != nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) sum[j] = hidden[j] + gate[j] * to_float(branch[j]);
  } else {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) sum[j] = hidden[j] + to_float(branch[j]);
  }
}

template <class T>
inline __attribute__((always_inline)) void normalize_row(const float* x, const float* multiplier,
                                                         const float* shift, T* out, int64_t width,
                                                         float eps, float* mean_out,
                                                         float* inverse_out) {
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < width; ++j) total += x[j];
  const float mean = total / static_cast<float>(width);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t j = 0; j < width; ++j) squares += (x[j] - mean) * (x[j] - mean);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
  if (multiplier != nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j)
      store(out[j], (x[j] - mean) * inverse * multiplier[j] + shift[j]);
  } else {
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) store(out[j], (x[j] - mean) * inverse);
  }
  *mean_out = mean;
  *inverse_out = inverse;
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
  const Chunks chunks(shape);
  chunks.for_each([&](int64_t chunk) {
    const int64_t group = chunk / chunks.per_group();
    const float* gate = row_of(o.gate, group, width);
    const float* multiplier = row_of(o.multiplier, group, width);
    const float* shift = row_of(o.shift, group, width);
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([=]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        const float* x = hidden + row * width;
        if (branch != nullptr) {
          add_gated_row(x, branch + row * width, gate, sum + row * width, width);
          x = sum + row * width;
        }
        normalize_row(x, multiplier, shift, normed + row * width, width, eps, mean + row,
                      inverse + row);
      }
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
                                                             float mean, float inverse) {
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
    const float scaled = multiplier != nullptr ? d * multiplier[j] : d;
    sum += scaled;
    dot += scaled * normalized;
  }
  const float mean_d = sum / static_cast<float>(width);
  const float mean_dot = dot / static_cast<float>(width);
  const float* d_direct = row.d_direct;
  float* d_hidden = row.d_hidden;
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) {
    const float d =
        multiplier != nullptr ? to_float(d_normed[j]) * multiplier[j] : to_float(d_normed[j]);
    d_hidden[j] = d_direct[j] + inverse * (d - mean_d - (x[j] - mean) * inverse * mean_dot);
  }
}

/// Pointers at one row of a gated branch.
template <class T>
struct BranchRow {
  const float* d_sum;
  const T* branch;
  const float* gate;
  T* d_branch;
  float* d_gate;
  float* d_branch_sum;
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
  const Chunks chunks(shape);
  const ColumnSums sums(chunks, 4, width);
  chunks.for_each([&](int64_t chunk) {
    const int64_t group = chunk / chunks.per_group();
    const float* gate = row_of(o.gate, group, width);
    const float* multiplier = row_of(o.multiplier, group, width);
    float* d_multiplier = sums.begin(chunk, 0);
    float* d_shift = sums.begin(chunk, 1);
    float* d_gate = sums.begin(chunk, 2);
    float* d_branch_sum = sums.begin(chunk, 3);
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([=]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        const int64_t at = row * width;
        const NormRow<T> norm{x + at,        d_normed + at, d_direct + at, multiplier,
                              d_hidden + at, d_multiplier,  d_shift};
        norm_backward_row(norm, width, mean[row], inverse[row]);
        if (branch == nullptr) continue;
        const BranchRow<T> gated{d_hidden + at, branch + at, gate,
                                 d_branch + at, d_gate,      d_branch_sum};
        branch_backward_row(gated, width);
      }
    });
  });
  sums.finish(0, g.d_multiplier);
  sums.finish(1, g.d_shift);
  if (o.gate.defined()) sums.finish(2, g.d_gate);
  if (has_branch) sums.finish(3, g.d_branch_sum);
}

template <class T>
void gated_sum_backward_of(const RowShape& shape, const at::Tensor& d_sum_tensor,
                           const at::Tensor& branch_tensor, const at::Tensor& gate_tensor,
                           const GatedSumGradient& g) {
  const int64_t width = shape.width;
  const auto* d_sum = data<float>(d_sum_tensor);
  const auto* branch = data<T>(branch_tensor);
  auto* d_branch = data<T>(g.d_branch);
  const Chunks chunks(shape);
  const ColumnSums sums(chunks, 2, width);
  chunks.for_each([&](int64_t chunk) {
    const float* gate = row_of(gate_tensor, chunk / chunks.per_group(), width);
    float* d_gate = sums.begin(chunk, 0);
    float* d_branch_sum = sums.begin(chunk, 1);
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([=]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        const int64_t at = row * width;
        const BranchRow<T> gated{d_sum + at,    branch + at, gate,
                                 d_branch + at, d_gate,      d_branch_sum};
        branch_backward_row(gated, width);
      }
    });
  });
  sums.finish(0, g.d_gate);
  sums.finish(1, g.d_branch_sum);
}

template <class T>
void gated_sum_of(const RowShape& shape, const at::Tensor& hidden, const at::Tensor& branch,
                  const at::Tensor& gate, const at::Tensor& out) {
  const int64_t width = shape.width;
  const Chunks chunks(shape);
  chunks.for_each([&](int64_t chunk) {
    const float* gate_row = row_of(gate, chunk / chunks.per_group(), width);
    const auto* x = data<float>(hidden);
    const auto* b = data<T>(branch);
    auto* sum = data<float>(out);
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([=]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        add_gated_row(x + row * width, b + row * width, gate_row, sum + row * width, width);
      }
    });
  });
}

/// RoPE on one head: adjacent pairs rotated by the token's angles; `direction` -1 rotates back.
template <class T>
inline __attribute__((always_inline)) void rotate_head(const float* x, const float* cos,
                                                       const float* sin, float direction, T* out,
                                                       int64_t pairs) {
#pragma omp simd
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    const float s = direction * sin[i];
    store(out[2 * i], a * cos[i] - b * s);
    store(out[2 * i + 1], b * cos[i] + a * s);
  }
}

RowShape rows_of(const at::Tensor& x) {
  return {x.size(0), x.size(1), x.size(0)};
}

template <class T>
void rms_rope_of(const RmsRope& o, float eps) {
  const RowShape shape = rows_of(o.x);
  const int64_t width = shape.width;
  const auto* x = data<T>(o.x);
  const auto* weight = data<T>(o.weight);
  const auto* cos = data<float>(o.cos);
  const auto* sin = data<float>(o.sin);
  auto* out = data<T>(o.out);
  auto* inverse_rms = data<float>(o.inverse_rms);
  const int64_t x_stride = o.x.stride(0);
  const int64_t out_stride = o.out.stride(0);
  const int64_t tokens = cos == nullptr ? 1 : o.cos.size(0);
  const int64_t pairs = cos == nullptr ? 0 : o.cos.size(1);
  const Chunks chunks(shape);
  chunks.for_each([&](int64_t chunk) {
    const at::Tensor scratch = at::empty({width}, at::kFloat);
    float* normed = scratch.mutable_data_ptr<float>();
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([=]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        const T* __restrict__ source = x + row * x_stride;
        T* __restrict__ target = out + row * out_stride;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t j = 0; j < width; ++j) squares += to_float(source[j]) * to_float(source[j]);
        const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
        inverse_rms[row] = inverse;
        if (cos == nullptr) {
#pragma omp simd
          for (int64_t j = 0; j < width; ++j)
            store(target[j], to_float(source[j]) * inverse * to_float(weight[j]));
          continue;
        }
#pragma omp simd
        for (int64_t j = 0; j < width; ++j)
          normed[j] = to_float(source[j]) * inverse * to_float(weight[j]);
        const int64_t angle = row % tokens * pairs;
        for (int64_t j = 0; j < width; j += 2 * pairs) {
          rotate_head(normed + j, cos + angle, sin + angle, 1.0F, target + j, pairs);
        }
      }
    });
  });
}

template <class T>
void rms_rope_backward_of(const RmsRope& o, const RmsRopeGradient& g) {
  const RowShape shape = rows_of(o.x);
  const int64_t width = shape.width;
  const auto* x = data<T>(o.x);
  const auto* weight = data<T>(o.weight);
  const auto* cos = data<float>(o.cos);
  const auto* sin = data<float>(o.sin);
  const auto* inverse_rms = data<float>(o.inverse_rms);
  const auto* d_out = data<T>(g.d_out);
  auto* d_x = data<T>(g.d_x);
  const int64_t x_stride = o.x.stride(0);
  const int64_t d_out_stride = g.d_out.stride(0);
  const int64_t d_x_stride = g.d_x.stride(0);
  const int64_t tokens = cos == nullptr ? 1 : o.cos.size(0);
  const int64_t pairs = cos == nullptr ? 0 : o.cos.size(1);
  const Chunks chunks(shape);
  const ColumnSums sums(chunks, 2, width);
  chunks.for_each([&](int64_t chunk) {
    const at::Tensor scratch = at::empty({2 * width}, at::kFloat);
    float* __restrict__ gradient = scratch.mutable_data_ptr<float>();
    float* __restrict__ unrotated = gradient + width;
    float* __restrict__ d_weight = sums.begin(chunk, 0);
    float* __restrict__ d_x_sum = sums.begin(chunk, 1);
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([=]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        const T* __restrict__ source = x + row * x_stride;
        const T* __restrict__ incoming = d_out + row * d_out_stride;
        T* target = d_x + row * d_x_stride;
        const float inverse = inverse_rms[row];
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) gradient[j] = to_float(incoming[j]);
        const float* d = gradient;
        if (cos != nullptr) {
          const int64_t angle = row % tokens * pairs;
          for (int64_t j = 0; j < width; j += 2 * pairs) {
            rotate_head(gradient + j, cos + angle, sin + angle, -1.0F, unrotated + j, pairs);
          }
          d = unrotated;
        }
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t j = 0; j < width; ++j) {
          const float normalized = to_float(source[j]) * inverse;
          d_weight[j] += d[j] * normalized;
          dot += d[j] * to_float(weight[j]) * normalized;
        }
        const float mean_dot = dot / static_cast<float>(width);
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) {
          const float value =
              inverse * (d[j] * to_float(weight[j]) - to_float(source[j]) * inverse * mean_dot);
          store(target[j], value);
          d_x_sum[j] += value;
        }
      }
    });
  });
  sums.finish(0, g.d_weight);
  sums.finish(1, g.d_x_sum);
}

template <class T>
void column_sums_of(const at::Tensor& tensor, const at::Tensor& result) {
  const RowShape shape = rows_of(tensor);
  const auto* x = data<T>(tensor);
  const int64_t stride = tensor.stride(0);
  const Chunks chunks(shape);
  const ColumnSums sums(chunks, 1, shape.width);
  chunks.for_each([&](int64_t chunk) {
    float* __restrict__ sum = sums.begin(chunk, 0);
    const int64_t first = chunks.first_row(chunk);
    const int64_t last = chunks.last_row(chunk);
    run_vectorized([ =, width = shape.width ]() __attribute__((always_inline)) {
      for (int64_t row = first; row < last; ++row) {
        const T* __restrict__ source = x + row * stride;
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) sum[j] += to_float(source[j]);
      }
    });
  });
  sums.finish(0, result);
}

bool is_bf16(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16;
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

void residual_norm(const RowShape& shape, const ResidualNorm& operands, double eps) {
  const auto small = static_cast<float>(eps);
  is_bf16(operands.normed) ? residual_norm_of<Bf16>(shape, operands, small)
                           : residual_norm_of<float>(shape, operands, small);
}

at::Tensor gated_sum(const RowShape& shape, const at::Tensor& hidden, const at::Tensor& branch,
                     const at::Tensor& gate) {
  at::Tensor out = at::empty_like(hidden);
  is_bf16(branch) ? gated_sum_of<Bf16>(shape, hidden, branch, gate, out)
                  : gated_sum_of<float>(shape, hidden, branch, gate, out);
  return out;
}

void residual_norm_backward(const RowShape& shape, const ResidualNorm& operands,
                            const ResidualNormGradient& gradient) {
  is_bf16(gradient.d_normed) ? residual_norm_backward_of<Bf16>(shape, operands, gradient)
                             : residual_norm_backward_of<float>(shape, operands, gradient);
}

void gated_sum_backward(const RowShape& shape, const at::Tensor& d_sum, const at::Tensor& branch,
                        const at::Tensor& gate, const GatedSumGradient& gradient) {
  is_bf16(branch) ? gated_sum_backward_of<Bf16>(shape, d_sum, branch, gate, gradient)
                  : gated_sum_backward_of<float>(shape, d_sum, branch, gate, gradient);
}

void rms_rope(const RmsRope& operands, double eps) {
  const auto small = static_cast<float>(eps);
  is_bf16(operands.x) ? rms_rope_of<Bf16>(operands, small) : rms_rope_of<float>(operands, small);
}

void rms_rope_backward(const RmsRope& operands, const RmsRopeGradient& gradient) {
  is_bf16(operands.x) ? rms_rope_backward_of<Bf16>(operands, gradient)
                      : rms_rope_backward_of<float>(operands, gradient);
}

at::Tensor column_sums(const at::Tensor& x) {
  at::Tensor result = at::empty({1, x.size(1)}, at::kFloat);
  is_bf16(x) ? column_sums_of<Bf16>(x, result) : column_sums_of<float>(x, result);
  return result;
}

void add_sums(const at::Tensor& target, const at::Tensor& sums) {
  is_bf16(target) ? add_sums_of<Bf16>(target, sums) : add_sums_of<float>(target, sums);
}

}  // namespace zoetrope::kernels
