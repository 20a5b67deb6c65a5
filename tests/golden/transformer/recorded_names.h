// What FastVideo's recordings of single operations are called and how they are laid out.
#pragma once

#include <map>
#include <string>

#include <ATen/ATen.h>

namespace zoetrope::test {

/// FastVideo's module path of what our observer calls `name`; empty when it has no single module.
inline std::string recorded_name(const std::string& name) {
  static const std::map<std::string, std::string> block_names = {
      {"norm1", ""},  // recorded before the modulation that ours includes
      {"attn1.to_q", "to_q"},
      {"attn1.to_k", "to_k"},
      {"attn1.to_v", "to_v"},
      {"attn1.norm_q", "norm_q"},
      {"attn1.norm_k", "norm_k"},
      {"attn1.attention", "attn1"},
      {"attn1.to_out.0", "to_out"},
      {"self_residual", "self_attn_residual_norm.out1"},
      {"norm2", "self_attn_residual_norm"},
      {"attn2.to_out.0", "attn2.to_out"},
      {"cross_residual", "cross_attn_residual_norm.out1"},
      {"norm3", "cross_attn_residual_norm"},
      {"ffn.net.0.proj", "ffn.fc_in"},
      {"ffn", "ffn"},
  };
  static const std::map<std::string, std::string> names = {
      {"condition_embedder.time_embedder.linear_1", "condition_embedder.time_embedder.mlp.fc_in"},
      {"condition_embedder.time_proj", "condition_embedder.time_modulation"},
      {"condition_embedder.text_embedder.linear_1", "condition_embedder.text_embedder.fc_in"},
      {"condition_embedder.image_embedder.ff.net.0.proj",
       "condition_embedder.image_embedder.ff.fc_in"},
      {"condition_embedder.image_embedder.ff.net.2", "condition_embedder.image_embedder.ff.fc_out"},
  };
  if (name.starts_with("blocks.")) {
    const size_t dot = name.find('.', 7);
    if (dot == std::string::npos) return name;
    const auto found = block_names.find(name.substr(dot + 1));
    return found == block_names.end() ? name : name.substr(0, dot + 1) + found->second;
  }
  const auto found = names.find(name);
  return found == names.end() ? name : found->second;
}

/// The observed value in the recording's layout: heads split, tokens cut, patches as a grid.
inline at::Tensor as_recorded(at::Tensor value, const at::Tensor& recorded) {
  if (recorded.dim() == 5) return value.transpose(1, 2).reshape(recorded.sizes());
  if (recorded.dim() == 2 && value.dim() >= 3) value = value.flatten(0, 1).flatten(1);
  if (recorded.dim() >= 3 && value.size(1) > recorded.size(1))
    value = value.narrow(1, 0, recorded.size(1));
  return value.reshape(recorded.sizes());
}

}  // namespace zoetrope::test
