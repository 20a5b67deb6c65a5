// One block of a Wan transformer in plain ATen operations: self attention, cross attention to text
// (and image) tokens, feed-forward, with timestep modulation. Differentiable by autograd; the twin
// that fused_block is compared with. Source: Diffusers' WanTransformerBlock.
#pragma once

#include "zoetrope/networks/lora/lora_adapters.h"
#include "zoetrope/networks/wan_transformer/condition_embedding.h"
#include "zoetrope/networks/wan_transformer/rotary_embedding.h"
#include "zoetrope/networks/wan_transformer/streaming_pass.h"
#include "zoetrope/networks/wan_transformer/text_key_values.h"

namespace zoetrope {

/// What every block reads beside the hidden tokens.
struct BlockContext {
  at::Tensor text_BLD;  ///< projected text tokens, compute type
  /// How many equal tokens the last text token stands for; above 1 only for fused blocks.
  int64_t last_text_count = 1;
  at::Tensor image_BLD;        ///< projected image tokens, or undefined
  at::Tensor modulation_BM6D;  ///< of the timesteps, compute type
  RotaryTables rotary;
  /// Which keys which queries of the self attention see; null means all of them.
  std::shared_ptr<const AttentionRegions> regions = nullptr;
  /// Frames of the past that the self attention sees, too; null means none.
  std::shared_ptr<StreamingPass> streaming = nullptr;
  TextKeyValues* text_key_values = nullptr;  ///< borrowed; null: made anew, with gradient
};

/// A linear layer's parameters, with its adapter if it has one.
struct LinearParameters {
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;
  std::optional<LowRankParameters> low_rank = std::nullopt;
};

/// The parameters of the linear layer `name`, and its adapter if `adapters` (may be null) has one.
LinearParameters linear_parameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                                   const std::string& name);

/// x W^T + b, with the adapter's (x A^T) B^T * scale.
at::Tensor linear(const LinearParameters& parameters, const at::Tensor& x);

/// The parameters of `blocks.<index>`, looked up once. Absent ones are null.
struct BlockParameters {
  /// `adapters` may be null.
  BlockParameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                  const WanTransformerConfig& config, int64_t block_index);

  std::string name;  ///< `blocks.<index>`
  int64_t index;
  const Parameter* scale_shift_table;
  LinearParameters self_q, self_k, self_v, self_out;
  const Parameter* self_norm_q;
  const Parameter* self_norm_k;
  LinearParameters cross_norm;  ///< norm2; null without cross_attn_norm
  LinearParameters cross_q, cross_k, cross_v, cross_out;
  const Parameter* cross_norm_q;
  const Parameter* cross_norm_k;
  LinearParameters image_k, image_v;  ///< null without the image branch
  const Parameter* image_norm_k;
  LinearParameters feed_forward_in, feed_forward_out;
};

/// hidden_BND: the fp32 residual stream; returned as fp32.
at::Tensor transformer_block(const BlockParameters& block, const WanTransformerConfig& config,
                             const at::Tensor& hidden_BND, const BlockContext& context,
                             const ActivationObserver& observer = nullptr);

}  // namespace zoetrope
