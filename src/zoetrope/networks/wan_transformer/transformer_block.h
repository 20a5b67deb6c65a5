// One block of a Wan transformer in plain ATen operations: self attention, cross attention to text
// (and image) tokens, feed-forward, with timestep modulation. Differentiable by autograd; the twin
// that fused_block is compared with. Source: Diffusers' WanTransformerBlock.
#pragma once

#include "zoetrope/distributed/sequence_shard.h"
#include "zoetrope/distributed/tensor_parallel.h"
#include "zoetrope/networks/wan_game/action_module.h"
#include "zoetrope/networks/wan_transformer/condition_embedding.h"
#include "zoetrope/networks/wan_transformer/linear_layer.h"
#include "zoetrope/networks/wan_transformer/rotary_embedding.h"
#include "zoetrope/networks/wan_transformer/streaming_pass.h"
#include "zoetrope/networks/wan_transformer/text_key_values.h"

namespace zoetrope {

/// What every block reads beside the hidden tokens. Modulation and rotation are those of the tokens
/// that this rank has, all else is of the whole sequence.
struct BlockContext {
  /// Projected tokens of the plain cross attention, compute type: of text, or of the image where
  /// there is no text; undefined where only the image branch attends.
  at::Tensor text_BLD;
  /// How many equal tokens the last text token stands for; above 1 only for fused blocks.
  int64_t last_text_count = 1;
  at::Tensor image_BLD;        ///< projected tokens of the image branch, or undefined
  at::Tensor modulation_BM6D;  ///< of the timesteps, compute type
  RotaryTables rotary;
  /// Which keys which queries of the self attention see; null means all of them.
  std::shared_ptr<const AttentionRegions> regions = nullptr;
  /// Frames of the past that the self attention sees, too; null means none.
  std::shared_ptr<StreamingPass> streaming = nullptr;
  TextKeyValues* text_key_values = nullptr;  ///< borrowed; null: made anew, with gradient
  /// What steers; null for a pass without actions.
  std::shared_ptr<const ActionContext> actions = nullptr;
  /// Of the network's parameters, borrowed: nodes announce their backward pass to it.
  ParameterResidency* residency = nullptr;
  SequenceShard sequence = {};  ///< which tokens the hidden ones are
  /// The ranks that the block's layers are split over; null means they are not. Only for plain
  /// blocks.
  GroupPointer tensor_group = nullptr;
};

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
  LinearParameters cross_q, cross_out;
  LinearParameters cross_k, cross_v;  ///< null without the plain cross attention, as cross_norm_k
  const Parameter* cross_norm_q;
  const Parameter* cross_norm_k;
  LinearParameters image_k, image_v;  ///< null without the image branch
  const Parameter* image_norm_k;
  LinearParameters feed_forward_in, feed_forward_out;
  std::optional<ActionParameters> action;
};

/// The tokens with what the block's action module, which sees all of the sequence, adds.
/// Differentiable by autograd.
at::Tensor steered_tokens(const BlockParameters& block, const WanTransformerConfig& config,
                          const at::Tensor& hidden_BND, const BlockContext& context,
                          const ActivationObserver& observer = nullptr);

/// hidden_BND: the fp32 residual stream; returned as fp32.
at::Tensor transformer_block(const BlockParameters& block, const WanTransformerConfig& config,
                             const at::Tensor& hidden_BND, const BlockContext& context,
                             const ActivationObserver& observer = nullptr);

}  // namespace zoetrope
