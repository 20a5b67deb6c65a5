#include "zoetrope/networks/umt5/umt5_layers.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

namespace zoetrope::umt5 {

at::Tensor relative_position_buckets(int64_t length, const Umt5Config& config) {
  const int64_t half = config.relative_attention_num_buckets / 2;
  const int64_t num_exact = half / 2;
  const at::Tensor positions = at::arange(length, at::kLong);
  const at::Tensor offset_LL = positions.unsqueeze(0) - positions.unsqueeze(1);
  const at::Tensor distance = offset_LL.abs();
  const double log_range = std::log(static_cast<double>(config.relative_attention_max_distance) /
                                    static_cast<double>(num_exact));
  // fp32, as the reference: a bucket border must fall on the same side.
  const at::Tensor steps =
      (distance.to(at::kFloat) / num_exact).log() / log_range * (half - num_exact);
  const at::Tensor far = (steps.clamp_min(0.0).to(at::kLong) + num_exact).clamp_max(half - 1);
  return at::where(distance.lt(num_exact), distance, far) + offset_LL.gt(0).to(at::kLong) * half;
}

RmsNorm::RmsNorm(WeightSource& weights, const std::string& name, const Umt5Config& config)
    : weight_(weights.get(name + ".weight", {config.d_model})),
      epsilon_(config.layer_norm_epsilon) {}

at::Tensor RmsNorm::forward(const at::Tensor& hidden_BLD) const {
  const at::Tensor hidden = hidden_BLD.to(at::kFloat);
  const at::Tensor scale = (hidden.square().mean({-1}, /*keepdim=*/true) + epsilon_).rsqrt();
  return weight_ * (hidden * scale).to(weight_.scalar_type());
}

Block::Block(WeightSource& weights, const std::string& name, const Umt5Config& config)
    : num_heads_(config.num_heads),
      attention_norm_(weights, name + ".layer.0.layer_norm", config),
      feed_forward_norm_(weights, name + ".layer.1.layer_norm", config) {
  const int64_t inner = config.num_heads * config.d_kv;
  const std::string attention = name + ".layer.0.SelfAttention";
  q_ = weights.get(attention + ".q.weight", {inner, config.d_model});
  k_ = weights.get(attention + ".k.weight", {inner, config.d_model});
  v_ = weights.get(attention + ".v.weight", {inner, config.d_model});
  o_ = weights.get(attention + ".o.weight", {config.d_model, inner});
  position_bias_ = weights.get(attention + ".relative_attention_bias.weight",
                               {config.relative_attention_num_buckets, config.num_heads});
  const std::string feed_forward = name + ".layer.1.DenseReluDense";
  gate_ = weights.get(feed_forward + ".wi_0.weight", {config.d_ff, config.d_model});
  up_ = weights.get(feed_forward + ".wi_1.weight", {config.d_ff, config.d_model});
  down_ = weights.get(feed_forward + ".wo.weight", {config.d_model, config.d_ff});
}

at::Tensor Block::attend(const at::Tensor& normed_BLD, const at::Tensor& buckets_LL,
                         const at::Tensor& hidden_from) const {
  const auto heads = [&](const at::Tensor& weight) {
    return at::linear(normed_BLD, weight).unflatten(-1, {num_heads_, -1}).transpose(1, 2);
  };
  const at::Tensor bias_1HLL =
      at::embedding(position_bias_, buckets_LL).permute({2, 0, 1}).unsqueeze(0);
  const double lowest = bias_1HLL.scalar_type() == at::kBFloat16
                            ? static_cast<double>(std::numeric_limits<c10::BFloat16>::lowest())
                            : static_cast<double>(std::numeric_limits<float>::lowest());
  const at::Tensor bias_BHLL = bias_1HLL.masked_fill(hidden_from, lowest);
  const at::Tensor mixed =
      at::scaled_dot_product_attention(heads(q_), heads(k_), heads(v_), bias_BHLL, 0.0,
                                       /*is_causal=*/false, /*scale=*/1.0);
  return at::linear(mixed.transpose(1, 2).flatten(2), o_);
}

at::Tensor Block::forward(const at::Tensor& hidden_BLD, const at::Tensor& buckets_LL,
                          const at::Tensor& hidden_from) const {
  const at::Tensor attended =
      hidden_BLD + attend(attention_norm_.forward(hidden_BLD), buckets_LL, hidden_from);
  const at::Tensor normed = feed_forward_norm_.forward(attended);
  const at::Tensor gated = at::gelu(at::linear(normed, gate_), "tanh") * at::linear(normed, up_);
  return attended + at::linear(gated, down_);
}

}  // namespace zoetrope::umt5
