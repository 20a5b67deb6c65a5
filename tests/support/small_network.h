// Small Wan transformers for tests, and random weights for them.
#pragma once

#include <ATen/ATen.h>

#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope::test {

/// Two blocks of text to video with heads of 12 channels.
inline WanTransformerConfig small_network(int64_t num_heads = 2) {
  WanTransformerConfig config;
  config.num_attention_heads = num_heads;
  config.attention_head_dim = 12;
  config.in_channels = 4;
  config.out_channels = 4;
  config.text_dim = 10;
  config.freq_dim = 16;
  config.ffn_dim = 72;
  config.num_layers = 2;
  return config;
}

/// Makes it a game network with action modules in `blocks`, and image tokens in place of text.
inline void make_game_network(WanTransformerConfig& config, std::vector<int64_t> blocks,
                              bool is_causal) {
  config.is_game = true;
  config.is_causal = is_causal;
  config.text_dim = 0;
  config.image_dim = 10;
  config.action = {.blocks = std::move(blocks),
                   .heads_num = 2,
                   .hidden_size = 5,
                   .keyboard_dim_in = 3,
                   .keyboard_hidden_dim = 24,
                   .mouse_hidden_dim = 24,
                   .mouse_qk_dim_list = {8, 2, 2}};
}

/// Random values of every parameter of `specs`, so that every gradient is of a usual size; bf16 can
/// represent them, so that networks of either type compute the same function.
inline NamedTensors random_weights(const std::vector<TensorSpec>& specs, double scale = 0.2) {
  NamedTensors weights;
  for (const TensorSpec& spec : specs) {
    at::Tensor value = at::randn(spec.shape) * scale;
    if (spec.name.find("norm") != std::string::npos && spec.name.ends_with("weight")) value += 1;
    weights.emplace_back(spec.name, value.to(at::kBFloat16).to(at::kFloat));
  }
  return weights;
}

}  // namespace zoetrope::test
