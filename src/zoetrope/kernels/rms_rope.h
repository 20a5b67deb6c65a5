// RMSNorm over whole rows followed by rotary position embedding (RoPE, arXiv:2104.09864) in one
// pass on the CPU, and its gradient. Statistics and sums in fp32. Agrees with a composition of
// networks/wan_transformer/plain_layers.h, which tests compare it with.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope::kernels {

/// RMSNorm over whole rows, then RoPE on adjacent pairs of each head. Rows may be slices of wider
/// rows. "compute" is fp32 or bf16, the same for all.
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

}  // namespace zoetrope::kernels
