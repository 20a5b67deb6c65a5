#include "zoetrope/networks/clip_vision/clip_vision_layers.h"

#include <ATen/ATen.h>

namespace zoetrope::clip_vision {

LayerNorm::LayerNorm(WeightSource& weights, const std::string& name, const ClipVisionConfig& config)
    : weight_(weights.get(name + ".weight", {config.hidden_size})),
      bias_(weights.get(name + ".bias", {config.hidden_size})),
      eps_(config.layer_norm_eps) {}

at::Tensor LayerNorm::forward(const at::Tensor& hidden_BLD) const {
  return at::layer_norm(hidden_BLD, weight_.sizes(), weight_, bias_, eps_);
}

Linear::Linear(WeightSource& weights, const std::string& name, int64_t num_outputs,
               int64_t num_inputs)
    : weight_(weights.get(name + ".weight", {num_outputs, num_inputs})),
      bias_(weights.get(name + ".bias", {num_outputs})) {}

at::Tensor Linear::forward(const at::Tensor& input) const {
  return at::linear(input, weight_, bias_);
}

Embeddings::Embeddings(WeightSource& weights, const std::string& name,
                       const ClipVisionConfig& config)
    : class_D_(weights.get(name + ".class_embedding", {config.hidden_size})),
      patch_weight_(weights.get(
          name + ".patch_embedding.weight",
          {config.hidden_size, config.num_channels, config.patch_size, config.patch_size})),
      position_LD_(weights.get(name + ".position_embedding.weight",
                               {config.num_tokens(), config.hidden_size})) {}

at::Tensor Embeddings::forward(const at::Tensor& pixels_BCHW) const {
  const int64_t patch = patch_weight_.size(-1);
  const at::Tensor patches_BLD =
      at::conv2d(pixels_BCHW, patch_weight_, {}, at::IntArrayRef{patch}).flatten(2).transpose(1, 2);
  const at::Tensor class_B1D = class_D_.expand({patches_BLD.size(0), 1, -1});
  return at::cat({class_B1D, patches_BLD}, 1) + position_LD_;
}

Layer::Layer(WeightSource& weights, const std::string& name, const ClipVisionConfig& config)
    : num_heads_(config.num_attention_heads),
      quick_gelu_(config.hidden_act == "quick_gelu"),
      attention_norm_(weights, name + ".layer_norm1", config),
      q_(weights, name + ".self_attn.q_proj", config.hidden_size, config.hidden_size),
      k_(weights, name + ".self_attn.k_proj", config.hidden_size, config.hidden_size),
      v_(weights, name + ".self_attn.v_proj", config.hidden_size, config.hidden_size),
      out_(weights, name + ".self_attn.out_proj", config.hidden_size, config.hidden_size),
      feed_forward_norm_(weights, name + ".layer_norm2", config),
      up_(weights, name + ".mlp.fc1", config.intermediate_size, config.hidden_size),
      down_(weights, name + ".mlp.fc2", config.hidden_size, config.intermediate_size) {}

at::Tensor Layer::attend(const at::Tensor& normed_BLD) const {
  const auto heads = [&](const Linear& projection) {
    return projection.forward(normed_BLD).unflatten(-1, {num_heads_, -1}).transpose(1, 2);
  };
  const at::Tensor mixed = at::scaled_dot_product_attention(heads(q_), heads(k_), heads(v_));
  return out_.forward(mixed.transpose(1, 2).flatten(2));
}

at::Tensor Layer::forward(const at::Tensor& hidden_BLD) const {
  const at::Tensor attended = hidden_BLD + attend(attention_norm_.forward(hidden_BLD));
  const at::Tensor up = up_.forward(feed_forward_norm_.forward(attended));
  const at::Tensor active = quick_gelu_ ? up * at::sigmoid(1.702 * up) : at::gelu(up);
  return attended + down_.forward(active);
}

}  // namespace zoetrope::clip_vision
