// One-pass kernels over the rows of token matrices on the CPU: residual and gate, LayerNorm with
// modulation, RMSNorm with RoPE, and their gradients with the column sums that parameters need.
// Statistics and sums in fp32. Each agrees with a composition of
// networks/wan_transformer/plain_layers.h, which tests compare it with.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace zoetrope::kernels {

/// Rows of `width` numbers; consecutive runs of rows_per_group rows share one row of each per-group
/// operand.
struct RowShape {
  int64_t rows;
  int64_t width;
  int64_t rows_per_group;

  int64_t num_groups() const { return rows / rows_per_group; }
};

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

/// hidden + gate * branch, fp32; no norm.
at::Tensor gated_sum(const RowShape& shape, const at::Tensor& hidden, const at::Tensor& branch,
                     const at::Tensor& gate);

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

/// Gradient of gated_sum with respect to branch (written, compute), gate and the sum of d_branch
/// (groups).
struct GatedSumGradient {
  at::Tensor d_branch;
  at::Tensor d_gate;
  at::Tensor d_branch_sum;
};
void gated_sum_backward(const RowShape& shape, const at::Tensor& d_sum, const at::Tensor& branch,
                        const at::Tensor& gate, const GatedSumGradient& gradient);

/// RMSNorm over whole rows, then RoPE on adjacent pairs of each head. Rows may be slices of wider
/// rows.
struct RmsRope {
  at::Tensor x;       ///< compute [rows, width]
  at::Tensor weight;  ///< compute [width]
  at::Tensor cos;  ///< fp32 [tokens, head_dim / 2]; row r uses token r % tokens; undefined: no RoPE
  at::Tensor sin;
  at::Tensor out;          ///< compute [rows, width], written
  at::Tensor inverse_rms;  ///< fp32 [rows], written
};
void rms_rope(const RmsRope& operands, double eps);

/// Gradient of rms_rope: d_x (compute, may be d_out) and, fp32 [1, width], the weight's gradient
/// and the sum of d_x.
struct RmsRopeGradient {
  at::Tensor d_out;
  at::Tensor d_x;
  at::Tensor d_weight;
  at::Tensor d_x_sum;
};
void rms_rope_backward(const RmsRope& operands, const RmsRopeGradient& gradient);

/// Column sums of x (compute [rows, width], rows may be slices): fp32 [1, width].
at::Tensor column_sums(const at::Tensor& x);

/// target (compute, contiguous) += sums (fp32, as many elements).
void add_sums(const at::Tensor& target, const at::Tensor& sums);

}  // namespace zoetrope::kernels
