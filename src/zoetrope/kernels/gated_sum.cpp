#include "zoetrope/kernels/gated_sum.h"

#include <ATen/ATen.h>

#include "zoetrope/kernels/gated_rows.h"
#include "zoetrope/kernels/row_chunks.h"

namespace zoetrope::kernels {
namespace {

template <class T>
void gated_sum_of(const RowShape& shape, const at::Tensor& hidden, const at::Tensor& branch,
                  const at::Tensor& gate, const at::Tensor& out) {
  const int64_t width = shape.width;
  const auto* x = data<float>(hidden);
  const auto* b = data<T>(branch);
  auto* sum = data<float>(out);
  Chunks(shape).for_each([&](const Chunk& chunk) {
    const float* gate_row = row_of(gate, chunk.group, width);
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      add_gated_row(x + row * width, b + row * width, gate_row, sum + row * width, width);
    });
  });
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
  const ColumnSums sums(chunks, 2);
  chunks.for_each([&](const Chunk& chunk) {
    const float* gate = row_of(gate_tensor, chunk.group, width);
    float* d_gate = sums.begin(chunk, 0);
    float* d_branch_sum = sums.begin(chunk, 1);
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      const int64_t at = row * width;
      const BranchRow<T> gated{d_sum + at, branch + at, gate, d_branch + at, d_gate, d_branch_sum};
      branch_backward_row(gated, width);
    });
  });
  sums.finish(0, g.d_gate);
  sums.finish(1, g.d_branch_sum);
}

}  // namespace

at::Tensor gated_sum(const RowShape& shape, const at::Tensor& hidden, const at::Tensor& branch,
                     const at::Tensor& gate) {
  at::Tensor out = at::empty_like(hidden);
  is_bf16(branch) ? gated_sum_of<Bf16>(shape, hidden, branch, gate, out)
                  : gated_sum_of<float>(shape, hidden, branch, gate, out);
  return out;
}

void gated_sum_backward(const RowShape& shape, const at::Tensor& d_sum, const at::Tensor& branch,
                        const at::Tensor& gate, const GatedSumGradient& gradient) {
  is_bf16(branch) ? gated_sum_backward_of<Bf16>(shape, d_sum, branch, gate, gradient)
                  : gated_sum_backward_of<float>(shape, d_sum, branch, gate, gradient);
}

}  // namespace zoetrope::kernels
