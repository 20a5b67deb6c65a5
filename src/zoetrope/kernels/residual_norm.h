// Residual sum, gate, LayerNorm and modulation of token matrices in one pass on the CPU, and the
// gradient with the column sums that parameters need. Statistics and sums in fp32. Agrees with a
// composition of networks/wan_transformer/plain_layers.h, which tests compare it with.
#pragma once

#include <ATen/core/Tensor.h>

#include "zoetrope/kernels/row_shape.h"

namespace zoetrope::kernels {

/// Tensors of the residual-and-norm kernels. "compute" is fp32 or bf16, the same for all; groups
/// are fp32 [num_groups, width].
struct ResidualNorm {
  at::Tensor hidden;  ///< fp32 [rows, width]
  at::Tensor branch;  ///< compute [rows, width], added to hidden; or undefined
  at::Tensor gate;    ///< groups, multiplies branch; or undefined for 1
  at::Tensor sum;  ///< fp32 [rows, width]: hidden + gate * branch, written when branch is defined
  at::Tensor multiplier;  ///< groups; or undefined for 1
  at::Tensor shift;       ///< groups; or undefined for 0
  at::Tensor normed;      ///< compute [rows, width], written: LayerNorm(sum) * multiplier + shift
  at::Tensor mean;        ///< fp32 [rows], written
  at::Tensor inverse_deviation;  ///< fp32 [rows], written
};
void residual_norm(const RowShape& shape, const ResidualNorm& operands, double eps);

/// Gradient of residual_norm. Sums over the rows of each group are fp32 [num_groups, width].
struct ResidualNormGradient {
  at::Tensor d_sum_direct;  ///< fp32 [rows, width]: what reaches the sum past the norm
  at::Tensor d_normed;      ///< compute [rows, width]
  at::Tensor d_hidden;      ///< fp32 [rows, width], written (it may be d_sum_direct)
  at::Tensor d_branch;      ///< compute, written when there is a branch
  at::Tensor d_multiplier;  ///< groups, written
  at::Tensor d_shift;       ///< groups, written
  at::Tensor d_gate;        ///< groups, written when there is a gate
  at::Tensor d_branch_sum;  ///< groups, written when there is a branch: sums of d_branch
};
void residual_norm_backward(const RowShape& shape, const ResidualNorm& operands,
                            const ResidualNormGradient& gradient);

}  // namespace zoetrope::kernels
