// The self attention of a fused block where queries do not all see the same keys, or see more than
// the block's own, or where several ranks have parts of the sequence: packed attention for one
// region of queries after the other.
#pragma once

#include "zoetrope/networks/wan_transformer/fused_block_passes.h"

namespace zoetrope {

/// Fills attention.out and attention.log_sums, and for the backward pass seen_queries, seen_keys,
/// seen_values and seen_out. `index` is the block's.
void region_attention_forward(const WanTransformerConfig& config, const BlockContext& context,
                              int64_t index, int64_t batch, AttentionActivations& attention);

/// Overwrites d_query, d_key and d_value, rows as those of `attention`.
void region_attention_backward(const WanTransformerConfig& config, const BlockContext& context,
                               int64_t batch, const AttentionActivations& attention,
                               const at::Tensor& d_out, const AttentionRowGradients& gradients);

}  // namespace zoetrope
