// One transformer block as a single autograd node on the CPU: fused row kernels, packed matrix
// multiplication and attention, and a backward pass written by hand that puts parameter gradients
// straight into the flat buffers; an action module within it is autograd's. Agrees with
// transformer_block (its plain twin) to rounding. Source: as transformer_block.h.
#pragma once

#include "zoetrope/networks/wan_transformer/fused_linear.h"

namespace zoetrope {

/// True when fused_block can run this network: parameters on the CPU, a processor with the packed
/// kernels, and a configuration with cross_attn_norm and plain cross attention.
bool fused_block_supported(const WanTransformerConfig& config,
                           const ParameterStore::Options& options);

/// A block's parameters as the fused implementation uses them. Borrows everything.
struct FusedBlock {
  FusedBlock(const BlockParameters& parameters, const WanTransformerConfig& config,
             ParameterGroup& group);

  const BlockParameters& parameters;
  const WanTransformerConfig& config;
  ParameterGroup& group;
  FusedLinear self_qkv, self_out, cross_q, cross_kv, image_kv, cross_out, feed_forward_in,
      feed_forward_out;
};

/// transformer_block as one node. With `recompute`, only the inputs are kept for the backward pass.
at::Tensor fused_block(const FusedBlock& block, const at::Tensor& hidden_BND,
                       const BlockContext& context, bool recompute);

}  // namespace zoetrope
