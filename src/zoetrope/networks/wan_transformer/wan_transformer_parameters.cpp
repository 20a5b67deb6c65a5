#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"

#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/tensor/random_source.h"

namespace zoetrope {
namespace {

class GroupBuilder {
 public:
  GroupBuilder(std::string name, std::string prefix) : prefix_(std::move(prefix)) {
    group_.name = std::move(name);
  }

  void tensor(const std::string& name, std::vector<int64_t> shape) {
    group_.parameters.push_back({prefix_ + name, std::move(shape)});
  }

  /// Linear layers that read the same input: all weights, then all biases.
  void linears(const std::string& prefix, const std::vector<std::string>& names, int64_t out,
               int64_t in) {
    for (const std::string& name : names) tensor(prefix + name + ".weight", {out, in});
    for (const std::string& name : names) tensor(prefix + name + ".bias", {out});
  }

  void linear(const std::string& name, int64_t out, int64_t in, bool bias = true) {
    tensor(name + ".weight", {out, in});
    if (bias) tensor(name + ".bias", {out});
  }

  void norm(const std::string& name, int64_t width) {
    tensor(name + ".weight", {width});
    tensor(name + ".bias", {width});
  }

  ParameterGroupSpec build() { return std::move(group_); }

 private:
  ParameterGroupSpec group_;
  std::string prefix_;
};

void add_mouse(const ActionConfig& action, int64_t width, GroupBuilder& group) {
  const int64_t inner = action.mouse_hidden_dim;
  const std::string module = "action_model.";
  group.linear(module + "mouse_mlp.0", inner, width + action.mouse_dim_in * action.window_rows());
  group.linear(module + "mouse_mlp.2", inner, inner);
  group.norm(module + "mouse_mlp.3", inner);
  group.linear(module + "t_qkv", 3 * inner, inner, action.qkv_bias);
  if (action.qk_norm) {
    group.tensor(module + "img_attn_q_norm.weight", {inner / action.heads_num});
    group.tensor(module + "img_attn_k_norm.weight", {inner / action.heads_num});
  }
  group.linear(module + "proj_mouse", width, inner, action.qkv_bias);
}

void add_keyboard(const ActionConfig& action, int64_t width, GroupBuilder& group) {
  const int64_t inner = action.keyboard_hidden_dim;
  const std::string module = "action_model.";
  group.linear(module + "keyboard_embed.0", action.hidden_size, action.keyboard_dim_in);
  group.linear(module + "keyboard_embed.2", action.hidden_size, action.hidden_size);
  group.linear(module + "mouse_attn_q", inner, width, action.qkv_bias);
  group.linear(module + "keyboard_attn_kv", 2 * inner, action.hidden_size * action.window_rows(),
               action.qkv_bias);
  if (action.qk_norm) {
    group.tensor(module + "key_attn_q_norm.weight", {inner / action.heads_num});
    group.tensor(module + "key_attn_k_norm.weight", {inner / action.heads_num});
  }
  group.linear(module + "proj_keyboard", width, inner, action.qkv_bias);
}

ParameterGroupSpec block_specs(const WanTransformerConfig& config, int64_t index,
                               int64_t tensor_ranks) {
  const int64_t width = config.width();
  const int64_t heads_width = width / tensor_ranks;
  const int64_t ffn_dim = config.ffn_dim / tensor_ranks;
  const std::string name = fmt::format("blocks.{}", index);
  GroupBuilder group(name, name + ".");
  group.tensor("scale_shift_table", {1, 6, width});
  group.linears("attn1.", {"to_q", "to_k", "to_v"}, heads_width, width);
  group.tensor("attn1.norm_q.weight", {heads_width});
  group.tensor("attn1.norm_k.weight", {heads_width});
  group.linear("attn1.to_out.0", width, heads_width);
  if (config.cross_attn_norm) group.norm("norm2", width);
  group.linear("attn2.to_q", heads_width, width);
  if (config.has_plain_cross_attention())
    group.linears("attn2.", {"to_k", "to_v"}, heads_width, width);
  if (config.has_image_branch())
    group.linears("attn2.", {"add_k_proj", "add_v_proj"}, heads_width, *config.added_kv_proj_dim);
  group.tensor("attn2.norm_q.weight", {heads_width});
  if (config.has_plain_cross_attention()) group.tensor("attn2.norm_k.weight", {heads_width});
  if (config.has_image_branch()) group.tensor("attn2.norm_added_k.weight", {heads_width});
  group.linear("attn2.to_out.0", width, heads_width);
  if (config.has_action_module(index)) {
    if (config.action->enable_mouse) add_mouse(*config.action, width, group);
    if (config.action->enable_keyboard) add_keyboard(*config.action, width, group);
  }
  group.linear("ffn.net.0.proj", ffn_dim, width);
  group.linear("ffn.net.2", width, ffn_dim);
  return group.build();
}

ParameterGroupSpec root_specs(const WanTransformerConfig& config) {
  const int64_t width = config.width();
  GroupBuilder group("root", "");
  const std::string patches = patch_embedding_name(config);
  group.tensor(patches + ".weight", {width, config.in_channels, config.patch_size[0],
                                     config.patch_size[1], config.patch_size[2]});
  group.tensor(patches + ".bias", {width});
  const std::string embedder = "condition_embedder.";
  group.linear(embedder + "time_embedder.linear_1", width, config.freq_dim);
  group.linear(embedder + "time_embedder.linear_2", width, width);
  group.linear(embedder + "time_proj", 6 * width, width);
  if (config.has_text()) {
    group.linear(embedder + "text_embedder.linear_1", width, config.text_dim);
    group.linear(embedder + "text_embedder.linear_2", width, width);
  }
  if (config.image_dim) {
    group.norm(embedder + "image_embedder.norm1", *config.image_dim);
    group.linear(embedder + "image_embedder.ff.net.0.proj", *config.image_dim, *config.image_dim);
    group.linear(embedder + "image_embedder.ff.net.2", width, *config.image_dim);
    group.norm(embedder + "image_embedder.norm2", width);
  }
  group.tensor("scale_shift_table", {1, 2, width});
  group.linear("proj_out", config.out_channels * config.patch_elements(), width);
  return group.build();
}

/// Layers whose output is added to what comes in, so that a new module changes nothing.
bool begins_at_zero(const std::string& name) {
  return name == "proj_out.weight" || name.ends_with("proj_mouse.weight") ||
         name.ends_with("proj_keyboard.weight");
}

}  // namespace

std::string patch_embedding_name(const WanTransformerConfig& config) {
  return config.is_game ? "patch_embedding.proj" : "patch_embedding";
}

std::vector<TensorSpec> wan_transformer_unused_specs(const WanTransformerConfig& config) {
  std::vector<TensorSpec> specs;
  if (!config.has_image_branch()) return specs;
  const int64_t width = config.width();
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string attention = fmt::format("blocks.{}.attn2.", i);
    specs.push_back({attention + "norm_added_q.weight", {width}});
    if (config.has_plain_cross_attention()) continue;
    for (const char* layer : {"to_k", "to_v"}) {
      specs.push_back({attention + layer + ".weight", {width, width}});
      specs.push_back({attention + layer + ".bias", {width}});
    }
    specs.push_back({attention + "norm_k.weight", {width}});
  }
  return specs;
}

at::Tensor wan_transformer_initial_value(const TensorSpec& spec, RandomSource& random) {
  const std::string& name = spec.name;
  const at::IntArrayRef shape = spec.shape;
  const std::string purpose = "init." + name;
  const DrawKey key{purpose, {}, 0};
  if (name.ends_with(".bias") || begins_at_zero(name)) return at::zeros(shape);
  if (name.ends_with("scale_shift_table")) {
    return random.normal(key, shape).div_(std::sqrt(static_cast<double>(shape.back())));
  }
  if (shape.size() == 1) return at::ones(shape);
  if (name.find("text_embedder") != std::string::npos ||
      name.find("time_embedder") != std::string::npos) {
    return random.normal(key, shape).mul_(0.02);
  }
  const int64_t fan_in = c10::multiply_integers(shape.slice(1));
  const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + shape[0]));
  return random.uniform(key, shape).mul_(2 * bound).sub_(bound);
}

std::vector<ParameterGroupSpec> wan_transformer_parameter_specs(const WanTransformerConfig& config,
                                                                int64_t tensor_ranks) {
  check_parallel_ranks(config, 1, tensor_ranks);
  std::vector<ParameterGroupSpec> groups;
  for (int64_t i = 0; i < config.num_layers; ++i)
    groups.push_back(block_specs(config, i, tensor_ranks));
  groups.push_back(root_specs(config));
  return groups;
}

void initialize_wan_transformer(ParameterStore& parameters, int64_t seed) {
  KeyedRandomSource random(seed);
  for (const TensorSpec& spec : parameters.whole_specs()) {
    parameters.load({{spec.name, wan_transformer_initial_value(spec, random)}});
  }
}

}  // namespace zoetrope
