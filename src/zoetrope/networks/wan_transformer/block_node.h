// A transformer block of plain operations as one node of the autograd graph, so that its parameters
// are needed in two spans of time only, and its activations may be computed again. Source of the
// recomputation: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
#pragma once

#include "zoetrope/networks/wan_transformer/transformer_block.h"

namespace zoetrope {

/// transformer_block as one node. With `recompute` only its inputs are kept for the backward pass,
/// otherwise the graph of its operations is. Gradients of the block's parameters are accumulated
/// into their leaves during the backward pass, which is announced to the context's residency. The
/// parameters must outlive the graph.
at::Tensor block_node(const BlockParameters& block, const WanTransformerConfig& config,
                      const at::Tensor& hidden_BND, const BlockContext& context, bool recompute);

}  // namespace zoetrope
