// The module by which mouse and keyboard steer the hidden tokens of a video transformer's block:
// each place of the picture attends over time to itself joined with mouse movement, then to the
// keys. Plain ATen operations that autograd differentiates. Source: GameFactory (Yu et al.,
// 2501.08325); tensor names and operations as FastVideo's models/dits/matrixgame2/action_module.py.
#pragma once

#include "zoetrope/networks/wan_game/action_context.h"
#include "zoetrope/networks/wan_transformer/condition_embedding.h"
#include "zoetrope/networks/wan_transformer/linear_layer.h"
#include "zoetrope/networks/wan_transformer/streaming_pass.h"

namespace zoetrope {

/// The parameters of `<block>.action_model`, looked up once. Absent ones are null.
struct ActionParameters {
  /// `adapters` may be null. `block_index` is of `num_blocks`.
  ActionParameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                   const ActionConfig& config, int64_t block_index);

  std::string name;  ///< `blocks.<index>.action_model`
  int64_t block_index;
  LinearParameters mouse_in, mouse_out, mouse_norm, mouse_qkv, mouse_projection;
  const Parameter* mouse_norm_q = nullptr;
  const Parameter* mouse_norm_k = nullptr;
  LinearParameters keyboard_in, keyboard_out, keyboard_q, keyboard_kv, keyboard_projection;
  const Parameter* keyboard_norm_q = nullptr;
  const Parameter* keyboard_norm_k = nullptr;
};

/// hidden_BND (fp32, tokens in (frame, row, column) order) with what the actions add. `streaming`
/// is null outside a streaming pass.
at::Tensor action_module(const ActionParameters& parameters, const ActionConfig& config,
                         const at::Tensor& hidden_BND, const ActionContext& context,
                         StreamingPass* streaming, const ActivationObserver& observer);

}  // namespace zoetrope
