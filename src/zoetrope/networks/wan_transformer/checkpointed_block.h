// A transformer block that keeps only its inputs in the forward pass and is computed again in the
// backward pass. Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
#pragma once

#include "zoetrope/networks/wan_transformer/transformer_block.h"

namespace zoetrope {

/// transformer_block with recomputation. Gradients of the block's parameters are accumulated into
/// their leaves during the backward pass. The parameters must outlive the graph.
at::Tensor checkpointed_block(const BlockParameters& block, const WanTransformerConfig& config,
                              const at::Tensor& hidden_BND, const BlockContext& context);

}  // namespace zoetrope
