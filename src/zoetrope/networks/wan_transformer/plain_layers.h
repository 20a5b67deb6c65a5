// The layers of a Wan transformer as ATen operations that autograd differentiates: the reference
// that fused kernels are compared with, and what runs on devices that have no fused kernel. Norms
// and modulation are computed in fp32.
#pragma once

#include <ATen/core/Tensor.h>

#include "zoetrope/networks/wan_transformer/causal_attention.h"

namespace zoetrope {

/// LayerNorm over the last dimension in fp32, returned in x's type. `weight` and `bias` may be
/// undefined.
at::Tensor layer_norm_fp32(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           double eps);

/// RMSNorm over the last dimension (all heads together), statistics and scale in fp32, returned in
/// x's type.
at::Tensor rms_norm_fp32(const at::Tensor& x, const at::Tensor& weight, double eps);

/// LayerNorm(x) * (1 + scale) + shift in fp32, returned in `dtype`. x_BND has N = M * k tokens;
/// scale_BMD and shift_BMD (fp32) hold one row for every k tokens.
at::Tensor modulated_layer_norm(const at::Tensor& x_BND, const at::Tensor& shift_BMD,
                                const at::Tensor& scale_BMD, double eps, at::ScalarType dtype);

/// x + branch * gate in fp32, returned in x's type; gate_BMD (fp32) as in modulated_layer_norm.
at::Tensor add_gated(const at::Tensor& x_BND, const at::Tensor& branch_BND,
                     const at::Tensor& gate_BMD);

/// Scaled dot-product attention without mask. q [B, N, heads, d], k and v [B, L, heads, d] -> [B,
/// N, heads * d].
at::Tensor attention(const at::Tensor& q_BNHd, const at::Tensor& k_BLHd, const at::Tensor& v_BLHd);

/// The same where each region of queries sees its own keys. Nothing of the size N x L is made.
at::Tensor region_attention(const at::Tensor& q_BNHd, const at::Tensor& k_BLHd,
                            const at::Tensor& v_BLHd, const AttentionRegions& regions);

/// The rows `ranges` of x along dimension 1, a view where there is one range.
at::Tensor select_ranges(const at::Tensor& x, const std::vector<IndexRange>& ranges);

}  // namespace zoetrope
