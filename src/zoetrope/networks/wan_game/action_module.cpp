#include "zoetrope/networks/wan_game/action_module.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/networks/wan_transformer/plain_layers.h"

namespace zoetrope {
namespace {

constexpr double kHeadNormEps = 1e-6;
constexpr double kLayerNormEps = 1e-5;

// Legend: B batch, T frames, S places of a frame, P places of all clips (B * S), N tokens (T * S),
// H heads, D width or width of a head.
class ActionPass {
 public:
  ActionPass(const ActionParameters& parameters, const ActionConfig& config,
             const ActionContext& context, StreamingPass* streaming,
             const ActivationObserver& observer)
      : parameters_(parameters),
        config_(config),
        context_(context),
        streaming_(streaming),
        observer_(observer) {}

  at::Tensor mouse(const at::Tensor& hidden_BND) const {
    const at::Tensor places_BSTD = by_place(hidden_BND);
    const at::Tensor windows =
        context_.mouse_windows_BTE.unsqueeze(1).expand({-1, places_BSTD.size(1), -1, -1});
    // P = B * S: every place of every sample is a sequence over time.
    const at::Tensor joined_PTE =
        at::cat({places_BSTD.to(windows.scalar_type()), windows}, -1).flatten(0, 1);
    const at::Tensor inner = observe("mouse_mlp.0", linear(parameters_.mouse_in, joined_PTE));
    const at::Tensor mixed =
        observe("mouse_mlp.2", linear(parameters_.mouse_out, at::gelu(inner, "tanh")));
    const at::Tensor normed =
        observe("mouse_mlp", layer_norm_fp32(mixed, parameters_.mouse_norm.weight->value,
                                             parameters_.mouse_norm.bias->value, kLayerNormEps));
    const std::vector<at::Tensor> qkv =
        observe("t_qkv", linear(parameters_.mouse_qkv, normed)).chunk(3, -1);
    const at::Tensor q =
        apply_rotary(head_norm("img_attn_q_norm", qkv[0], parameters_.mouse_norm_q), rotary());
    const at::Tensor k =
        apply_rotary(head_norm("img_attn_k_norm", qkv[1], parameters_.mouse_norm_k), rotary());
    const at::Tensor attended = observe("mouse_attn_layer", attend_to_places(q, k, heads(qkv[2])));
    return observe("proj_mouse",
                   linear(parameters_.mouse_projection, by_frame(attended, hidden_BND.size(0))));
  }

  at::Tensor keyboard(const at::Tensor& hidden_BND) const {
    const at::Tensor first =
        observe("keyboard_embed.0", linear(parameters_.keyboard_in, context_.keyboard_BRK));
    const at::Tensor rows =
        observe("keyboard_embed", linear(parameters_.keyboard_out, at::silu(first)));
    const at::Tensor windows_BTE = rows.index_select(1, context_.keyboard_window_rows)
                                       .unflatten(1, {context_.num_frames, -1})
                                       .flatten(2);
    const std::vector<at::Tensor> kv =
        observe("keyboard_attn_kv", linear(parameters_.keyboard_kv, windows_BTE)).chunk(2, -1);
    const at::Tensor k =
        apply_rotary(head_norm("key_attn_k_norm", kv[0], parameters_.keyboard_norm_k), rotary());
    const at::Tensor projected = observe(
        "mouse_attn_q", linear(parameters_.keyboard_q, hidden_BND.to(windows_BTE.scalar_type())));
    const at::Tensor q =
        apply_rotary(head_norm("key_attn_q_norm", projected, parameters_.keyboard_norm_q),
                     context_.token_rotary);
    return observe("proj_keyboard",
                   linear(parameters_.keyboard_projection, attend_to_keyboard(q, k, heads(kv[1]))));
  }

 private:
  /// [B, T * S, D] -> [B, S, T, D]
  at::Tensor by_place(const at::Tensor& x) const {
    return x.unflatten(1, {-1, x.size(1) / context_.num_frames}).transpose(1, 2);
  }
  /// [B * S, T, D] -> [B, T * S, D]
  static at::Tensor by_frame(const at::Tensor& x, int64_t batch) {
    return x.unflatten(0, {batch, -1}).transpose(1, 2).flatten(1, 2);
  }

  at::Tensor attend_to_places(const at::Tensor& q_PTHD, const at::Tensor& k_PTHD,
                              const at::Tensor& v_PTHD) const {
    if (streaming_ == nullptr) return attend(q_PTHD, k_PTHD, v_PTHD, context_.mouse_regions);
    const int64_t batch = context_.mouse_windows_BTE.size(0);
    const int64_t num_places = q_PTHD.size(0) / batch;
    const int64_t layer = streaming_->mouse_layer(parameters_.block_index);
    const VisibleKeys visible = streaming_->extend(layer, by_frame(k_PTHD.flatten(2), batch),
                                                   by_frame(v_PTHD.flatten(2), batch));
    const auto places = [&](const at::Tensor& x_BLD) {
      return heads(x_BLD.unflatten(1, {-1, num_places}).transpose(1, 2).flatten(0, 1));
    };
    at::Tensor attended = attention(q_PTHD, places(visible.keys), places(visible.values));
    streaming_->finish(layer);
    return attended;
  }

  at::Tensor attend_to_keyboard(const at::Tensor& q_BNHD, const at::Tensor& k_BTHD,
                                const at::Tensor& v_BTHD) const {
    if (streaming_ == nullptr) return attend(q_BNHD, k_BTHD, v_BTHD, context_.keyboard_regions);
    const int64_t layer = streaming_->keyboard_layer(parameters_.block_index);
    const VisibleKeys visible = streaming_->extend(layer, k_BTHD.flatten(2), v_BTHD.flatten(2));
    at::Tensor attended = attention(q_BNHD, heads(visible.keys), heads(visible.values));
    streaming_->finish(layer);
    return attended;
  }

  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionRegions& regions) {
    return regions.empty() ? attention(q, k, v) : region_attention(q, k, v, regions);
  }

  at::Tensor heads(const at::Tensor& x) const { return x.unflatten(-1, {config_.heads_num, -1}); }

  at::Tensor head_norm(const char* name, const at::Tensor& x, const Parameter* weight) const {
    if (weight == nullptr) return heads(x);
    return observe(name, rms_norm_fp32(heads(x), weight->value, kHeadNormEps));
  }

  const RotaryTables& rotary() const { return context_.rotary; }

  at::Tensor observe(const char* name, const at::Tensor& value) const {
    if (observer_) observer_(fmt::format("{}.{}", parameters_.name, name), value);
    return value;
  }

  const ActionParameters& parameters_;
  const ActionConfig& config_;
  const ActionContext& context_;
  StreamingPass* streaming_;
  const ActivationObserver& observer_;
};

}  // namespace

ActionParameters::ActionParameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                                   const ActionConfig& config, int64_t index)
    : name(fmt::format("blocks.{}.action_model", index)), block_index(index) {
  const auto layer = [&](const char* suffix) {
    return linear_parameters(parameters, adapters, fmt::format("{}.{}", name, suffix));
  };
  const auto norm = [&](const char* suffix) {
    return config.qk_norm ? &parameters.at(fmt::format("{}.{}.weight", name, suffix)) : nullptr;
  };
  if (config.enable_mouse) {
    mouse_in = layer("mouse_mlp.0");
    mouse_out = layer("mouse_mlp.2");
    mouse_norm = layer("mouse_mlp.3");
    mouse_qkv = layer("t_qkv");
    mouse_projection = layer("proj_mouse");
    mouse_norm_q = norm("img_attn_q_norm");
    mouse_norm_k = norm("img_attn_k_norm");
  }
  if (config.enable_keyboard) {
    keyboard_in = layer("keyboard_embed.0");
    keyboard_out = layer("keyboard_embed.2");
    keyboard_q = layer("mouse_attn_q");
    keyboard_kv = layer("keyboard_attn_kv");
    keyboard_projection = layer("proj_keyboard");
    keyboard_norm_q = norm("key_attn_q_norm");
    keyboard_norm_k = norm("key_attn_k_norm");
  }
}

at::Tensor action_module(const ActionParameters& parameters, const ActionConfig& config,
                         const at::Tensor& hidden_BND, const ActionContext& context,
                         StreamingPass* streaming, const ActivationObserver& observer) {
  const ActionPass pass(parameters, config, context, streaming, observer);
  at::Tensor hidden = hidden_BND;
  if (config.enable_mouse) hidden = hidden + pass.mouse(hidden);
  if (config.enable_keyboard) hidden = hidden + pass.keyboard(hidden);
  return hidden;
}

}  // namespace zoetrope
