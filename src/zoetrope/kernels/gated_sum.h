// A residual sum with a gate, hidden + gate * branch, and its gradient, each in one pass on the
// CPU. Per-group operands ("groups") are fp32 [num_groups, width]; "compute" is fp32 or bf16.
#pragma once

#include <ATen/core/Tensor.h>

#include "zoetrope/kernels/row_shape.h"

namespace zoetrope::kernels {

/// hidden (fp32 [rows, width]) + gate (groups; or undefined for 1) * branch (compute): fp32.
at::Tensor gated_sum(const RowShape& shape, const at::Tensor& hidden, const at::Tensor& branch,
                     const at::Tensor& gate);

/// Gradient of gated_sum with respect to branch (written, compute), gate and the sum of d_branch
/// (groups).
struct GatedSumGradient {
  at::Tensor d_branch;
  at::Tensor d_gate;
  at::Tensor d_branch_sum;
};
void gated_sum_backward(const RowShape& shape, const at::Tensor& d_sum, const at::Tensor& branch,
                        const at::Tensor& gate, const GatedSumGradient& gradient);

}  // namespace zoetrope::kernels
