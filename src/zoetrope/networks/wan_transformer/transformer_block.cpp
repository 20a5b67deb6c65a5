#include "zoetrope/networks/wan_transformer/transformer_block.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/distributed/sequence_gradients.h"
#include "zoetrope/networks/wan_transformer/plain_layers.h"

namespace zoetrope {
namespace {

class PlainBlock {
 public:
  PlainBlock(const BlockParameters& block, const WanTransformerConfig& config,
             const BlockContext& context, const ActivationObserver& observer)
      : block_(block),
        config_(config),
        context_(context),
        observer_(observer),
        compute_dtype_(block.self_q.weight->value.scalar_type()) {}

  at::Tensor forward(const at::Tensor& hidden_BND) const {
    const at::Tensor modulation = block_.scale_shift_table->value.to(at::kFloat).unsqueeze(0) +
                                  context_.modulation_BM6D.to(at::kFloat);
    const std::vector<at::Tensor> m = modulation.unbind(2);
    const at::Tensor norm1 =
        observe("norm1", modulated_layer_norm(hidden_BND, m[0], m[1], config_.eps, compute_dtype_));
    const at::Tensor after_self =
        observe("self_residual", add_gated(hidden_BND, self_attention(norm1), m[2]));

    at::Tensor norm2 = after_self;
    if (block_.cross_norm.weight != nullptr) {
      norm2 = layer_norm_fp32(after_self, block_.cross_norm.weight->value,
                              block_.cross_norm.bias->value, config_.eps);
    }
    norm2 = observe("norm2", norm2.to(compute_dtype_));
    const at::Tensor after_cross = observe("cross_residual", after_self + cross_attention(norm2));

    const at::Tensor steered = steer(after_cross);
    // Published bidirectional game networks do not let the feed-forward see the actions.
    const at::Tensor& seen = config_.is_causal ? steered : after_cross;
    const at::Tensor norm3 =
        observe("norm3", modulated_layer_norm(seen, m[3], m[4], config_.eps, compute_dtype_));
    const at::Tensor inner =
        observe("ffn.net.0.proj", split_linear(block_.feed_forward_in, enter(norm3)));
    const at::Tensor branch =
        observe("ffn", leave(block_.feed_forward_out, at::gelu(inner, "tanh")));
    return observe("", add_gated(steered, branch, m[5]));
  }

 private:
  at::Tensor self_attention(const at::Tensor& norm1_BND) const {
    const at::Tensor input = enter(norm1_BND);
    const at::Tensor q =
        norm_observed("attn1.norm_q", "attn1.to_q", block_.self_q, block_.self_norm_q, input);
    const at::Tensor k =
        norm_observed("attn1.norm_k", "attn1.to_k", block_.self_k, block_.self_norm_k, input);
    const at::Tensor v = observe("attn1.to_v", split_linear(block_.self_v, input));
    const at::Tensor attended =
        observe("attn1.attention", attend(apply_rotary(heads(q), context_.rotary), heads(k), v));
    return observe("attn1.to_out.0", leave(block_.self_out, attended));
  }

  /// Rotated queries, keys that are not rotated yet.
  at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
    StreamingPass* streaming = context_.streaming.get();
    const at::Tensor keys =
        streaming != nullptr && streaming->rotates_keys() ? k : apply_rotary(k, context_.rotary);
    const std::vector<at::Tensor> qkv =
        scatter_heads(context_.sequence, {q.flatten(2), keys.flatten(2), v});
    at::Tensor attended;
    if (streaming != nullptr) {
      const int64_t layer = streaming->self_layer(block_.index);
      const VisibleKeys visible = streaming->extend(layer, qkv[1], qkv[2]);
      attended = attention(heads(qkv[0]), heads(visible.keys), heads(visible.values));
      streaming->finish(layer);
    } else if (context_.regions) {
      attended = region_attention(heads(qkv[0]), heads(qkv[1]), heads(qkv[2]), *context_.regions);
    } else {
      attended = attention(heads(qkv[0]), heads(qkv[1]), heads(qkv[2]));
    }
    return gather_heads(context_.sequence, attended);
  }

  at::Tensor steer(const at::Tensor& hidden_BND) const {
    if (!block_.action || !context_.actions) return hidden_BND;
    return observe("action_model",
                   steered_tokens(block_, config_, hidden_BND, context_, observer_));
  }

  at::Tensor cross_attention(const at::Tensor& norm2_BND) const {
    const at::Tensor q = heads(norm_observed("attn2.norm_q", "attn2.to_q", block_.cross_q,
                                             block_.cross_norm_q, enter(norm2_BND)));
    at::Tensor attended;
    if (context_.text_BLD.defined()) {
      const auto [k, v] = text_keys_and_values();
      attended = observe("attn2.attention", attention(q, heads(k), heads(v)));
    }
    if (context_.image_BLD.defined()) {
      const at::Tensor image = enter(context_.image_BLD);
      const at::Tensor image_k = norm_observed("attn2.norm_added_k", "attn2.add_k_proj",
                                               block_.image_k, block_.image_norm_k, image);
      const at::Tensor image_v = observe("attn2.add_v_proj", split_linear(block_.image_v, image));
      const at::Tensor to_image = attention(q, heads(image_k), heads(image_v));
      attended = attended.defined() ? attended + to_image : to_image;
    }
    return observe("attn2.to_out.0", leave(block_.cross_out, attended));
  }

  TextKeyValues::Block text_keys_and_values() const {
    TextKeyValues::Block* kept = nullptr;
    if (context_.text_key_values != nullptr)
      kept = &context_.text_key_values->blocks[static_cast<size_t>(block_.index)];
    if (kept != nullptr && kept->values.defined()) return *kept;
    const at::Tensor text = enter(context_.text_BLD);
    TextKeyValues::Block made = {
        norm_observed("attn2.norm_k", "attn2.to_k", block_.cross_k, block_.cross_norm_k, text),
        observe("attn2.to_v", split_linear(block_.cross_v, text))};
    if (kept != nullptr) *kept = made;
    return made;
  }

  at::Tensor norm_observed(const char* norm_name, const char* linear_name,
                           const LinearParameters& projection, const Parameter* norm,
                           const at::Tensor& x) const {
    const at::Tensor projected = observe(linear_name, split_linear(projection, x));
    return observe(norm_name, norm_heads(projected, norm->value));
  }

  /// RMSNorm over all heads, also where this rank has a part of them.
  at::Tensor norm_heads(const at::Tensor& x, const at::Tensor& weight) const {
    const int64_t ranks = num_ranks(context_.tensor_group);
    if (ranks == 1) return rms_norm_fp32(x, weight, config_.eps);
    const at::Tensor x_fp32 = x.to(at::kFloat);
    const at::Tensor sums =
        sum_within_split_layers(context_.tensor_group, x_fp32.square().sum(-1, true));
    const at::Tensor inverse_rms =
        (sums / static_cast<double>(ranks * x.size(-1)) + config_.eps).rsqrt();
    return (x_fp32 * inverse_rms * weight.to(at::kFloat)).to(x.scalar_type());
  }

  /// To layers of which each tensor-parallel rank has some output features ...
  at::Tensor enter(const at::Tensor& x) const {
    return enter_split_layers(context_.tensor_group, x);
  }
  /// ... one of them ...
  at::Tensor split_linear(const LinearParameters& layer, const at::Tensor& x) const {
    return row_split_linear(layer, x, context_.tensor_group);
  }
  /// ... and through the one behind them, of which it has the input features.
  at::Tensor leave(const LinearParameters& layer, const at::Tensor& x) const {
    return column_split_linear(layer, x, context_.tensor_group);
  }

  at::Tensor heads(const at::Tensor& x_BND) const {
    return x_BND.unflatten(-1, {-1, config_.attention_head_dim});
  }

  at::Tensor observe(const char* name, const at::Tensor& value) const {
    if (observer_)
      observer_(*name == '\0' ? block_.name : fmt::format("{}.{}", block_.name, name), value);
    return value;
  }

  const BlockParameters& block_;
  const WanTransformerConfig& config_;
  const BlockContext& context_;
  const ActivationObserver& observer_;
  at::ScalarType compute_dtype_;
};

}  // namespace

BlockParameters::BlockParameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                                 const WanTransformerConfig& config, int64_t block_index)
    : name(fmt::format("blocks.{}", block_index)), index(block_index) {
  const auto tensor = [&](const std::string& suffix) {
    return &parameters.at(name + "." + suffix);
  };
  const auto layer = [&](const std::string& suffix) {
    return linear_parameters(parameters, adapters, name + "." + suffix);
  };
  scale_shift_table = tensor("scale_shift_table");
  self_q = layer("attn1.to_q");
  self_k = layer("attn1.to_k");
  self_v = layer("attn1.to_v");
  self_out = layer("attn1.to_out.0");
  self_norm_q = tensor("attn1.norm_q.weight");
  self_norm_k = tensor("attn1.norm_k.weight");
  if (config.cross_attn_norm) cross_norm = layer("norm2");
  cross_q = layer("attn2.to_q");
  cross_out = layer("attn2.to_out.0");
  cross_norm_q = tensor("attn2.norm_q.weight");
  cross_norm_k = nullptr;
  if (config.has_plain_cross_attention()) {
    cross_k = layer("attn2.to_k");
    cross_v = layer("attn2.to_v");
    cross_norm_k = tensor("attn2.norm_k.weight");
  }
  image_norm_k = nullptr;
  if (config.has_image_branch()) {
    image_k = layer("attn2.add_k_proj");
    image_v = layer("attn2.add_v_proj");
    image_norm_k = tensor("attn2.norm_added_k.weight");
  }
  feed_forward_in = layer("ffn.net.0.proj");
  feed_forward_out = layer("ffn.net.2");
  if (config.has_action_module(index)) action.emplace(parameters, adapters, *config.action, index);
}

at::Tensor steered_tokens(const BlockParameters& block, const WanTransformerConfig& config,
                          const at::Tensor& hidden_BND, const BlockContext& context,
                          const ActivationObserver& observer) {
  const at::Tensor all_BND = gather_tokens(context.sequence, hidden_BND, GatheredGradient::kPart);
  return context.sequence.own_tokens(action_module(
      *block.action, *config.action, all_BND, *context.actions, context.streaming.get(), observer));
}

at::Tensor transformer_block(const BlockParameters& block, const WanTransformerConfig& config,
                             const at::Tensor& hidden_BND, const BlockContext& context,
                             const ActivationObserver& observer) {
  return PlainBlock(block, config, context, observer).forward(hidden_BND);
}

}  // namespace zoetrope
