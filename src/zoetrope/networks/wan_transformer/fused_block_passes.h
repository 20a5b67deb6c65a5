// The forward and backward pass of a fused transformer block as plain functions on tensors: no
// autograd graph. Legend: R rows = B * N tokens, G groups of rows that share a timestep, D width, F
// feed-forward width, L text tokens.
#pragma once

#include "zoetrope/kernels/packed_attention.h"
#include "zoetrope/kernels/residual_norm.h"
#include "zoetrope/kernels/rms_rope.h"
#include "zoetrope/networks/wan_transformer/fused_block.h"

namespace zoetrope {

/// Queries, keys and values of one attention, normed and rotated, with what the backward pass
/// needs.
struct AttentionActivations {
  kernels::RmsRope query_norm;  ///< raw and normed queries
  kernels::RmsRope key_norm;
  at::Tensor values;           ///< compute; rows may be slices
  at::Tensor out;              ///< compute [R, D]
  int64_t last_key_count = 1;  ///< as kernels::AttentionShape
  at::Tensor log_sums;         ///< fp32 [B, heads, N], with regions one such part for each
  /// Compute [B, N or L, heads * head_dim]: what attends to what, and the result, where that is not
  /// simply query_norm.out, key_norm.out, values and out.
  at::Tensor seen_queries, seen_keys, seen_values, seen_out;
};

/// Gradients of the rows of queries, keys and values.
struct AttentionRowGradients {
  at::Tensor query, key, value;
};

struct BlockActivations {
  at::Tensor modulation;  ///< fp32 [6, G, D]: shift, 1 + scale, gate of the self attention, then of
                          ///< the feed-forward
  kernels::ResidualNorm norm1, norm2, norm3;
  at::Tensor self_qkv;  ///< compute [R, 3D]
  AttentionActivations self, text, image;
  at::Tensor attended;  ///< compute [R, D]: what the cross attention's output projection reads
  at::Tensor before_gelu, after_gelu;  ///< compute [R, F]
  at::Tensor feed_forward;             ///< compute [R, D]
  /// Whether a backward pass will come.
  bool differentiable = false;
  /// fp32 [B, N, D] before and after the action module, the ends of its autograd graph; or
  /// undefined.
  at::Tensor before_actions, after_actions;
};

struct BlockGradients {
  at::Tensor hidden;      ///< fp32 [B, N, D]
  at::Tensor text;        ///< compute [B, L, D]
  at::Tensor image;       ///< compute, or undefined
  at::Tensor modulation;  ///< compute [B, M, 6, D]
};

/// hidden_BND fp32 contiguous -> fp32 [B, N, D].
at::Tensor fused_block_forward(const FusedBlock& block, const at::Tensor& hidden_BND,
                               const BlockContext& context, BlockActivations& activations);

/// Parameter gradients are added to the block's flat gradients. `activations` are used up.
BlockGradients fused_block_backward(const FusedBlock& block, const at::Tensor& hidden_BND,
                                    const BlockContext& context, BlockActivations& activations,
                                    const at::Tensor& d_output_BND);

/// Whether the block's action module is used in this pass.
bool is_steered(const BlockParameters& parameters, const BlockContext& context);

kernels::Element element_of(const at::Tensor& tensor);
kernels::AttentionShape attention_shape(const WanTransformerConfig& config, int64_t batch,
                                        const AttentionActivations& attention);
kernels::HeadTokens head_tokens(const at::Tensor& rows);
kernels::AttentionOperands attention_operands(const AttentionActivations& attention);

}  // namespace zoetrope
