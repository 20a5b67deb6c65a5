#include "zoetrope/networks/wan_transformer/causal_forward.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

CacheClip clip_of(const WanTransformerConfig& config, const at::Tensor& hidden_BCTHW) {
  return {hidden_BCTHW.size(0), hidden_BCTHW.size(3) / config.patch_size[1],
          hidden_BCTHW.size(4) / config.patch_size[2]};
}

void check_hidden(const WanTransformerConfig& config, const at::Tensor& hidden_BCTHW) {
  if (config.patch_size[0] != 1)
    fail("causal Wan: a token must be of one latent frame, but is of {}", config.patch_size[0]);
  TORCH_CHECK(hidden_BCTHW.dim() == 5, "causal Wan: hidden must be [B, C, T, H, W], but got ",
              hidden_BCTHW.sizes());
}

}  // namespace

CausalAttention causal_attention_of(const WanTransformerConfig& config,
                                    std::optional<int64_t> num_frames_per_block) {
  constexpr int64_t kUnbounded = -1;
  CausalAttention attention;
  if (num_frames_per_block.has_value() || config.num_frames_per_block.has_value()) {
    attention.num_frames_per_block =
        num_frames_per_block ? *num_frames_per_block : *config.num_frames_per_block;
  }
  if (config.local_attn_size != kUnbounded) attention.local_attn_size = config.local_attn_size;
  if (config.sink_size) attention.sink_size = *config.sink_size;
  if (config.rope_cache_policy == "relativistic") attention.rotary_policy = RotaryPolicy::kRelative;
  attention.check();
  return attention;
}

CausalAttention training_attention(WanTransformerConfig config, const AttentionKeys& run) {
  if (!config.local_attn_size) config.local_attn_size = run.local_attn_size;
  if (!config.sink_size) config.sink_size = run.sink_size;
  return causal_attention_of(config, run.num_frames_per_block);
}

WanTransformerConfig with_attention(WanTransformerConfig config, const CausalAttention& attention) {
  config.num_frames_per_block = attention.num_frames_per_block;
  if (attention.local_attn_size) {
    config.local_attn_size = attention.local_attn_size;
    config.sink_size = attention.sink_size;
  }
  return config;
}

std::optional<int64_t> max_streamed_frames(const WanTransformerConfig& config,
                                           const CausalAttention& attention) {
  const bool goes_round = attention.rotary_policy == RotaryPolicy::kRelative &&
                          attention.local_attn_size &&
                          *attention.local_attn_size <= config.rope_max_seq_len;
  if (goes_round) return std::nullopt;
  return config.rope_max_seq_len;
}

at::Tensor block_causal_forward(WanTransformer& network, WanTransformerInputs inputs,
                                const CausalAttention& attention) {
  check_hidden(network.config(), inputs.hidden_BCTHW);
  const CacheClip clip = clip_of(network.config(), inputs.hidden_BCTHW);
  const auto make_regions =
      inputs.clean_BCTHW.defined() ? teacher_forcing_regions : block_causal_regions;
  inputs.regions = std::make_shared<AttentionRegions>(
      make_regions(attention, inputs.hidden_BCTHW.size(2), clip.rows * clip.columns));
  return network.forward(inputs);
}

at::Tensor streaming_forward(WanTransformer& network, WanTransformerInputs inputs,
                             KeyValueCache& cache, const ChunkOptions& options) {
  check_hidden(network.config(), inputs.hidden_BCTHW);
  const at::AutoGradMode grad_mode(at::GradMode::is_enabled() && !options.store);
  StreamingMode mode = options.store ? StreamingMode::kStore : StreamingMode::kRead;
  if (at::GradMode::is_enabled()) mode = StreamingMode::kDifferentiable;
  const ParameterStore::Options& store = network.parameters().options();
  const IndexRange frames{options.start_frame, options.start_frame + inputs.hidden_BCTHW.size(2)};
  inputs.streaming =
      cache.begin_pass(clip_of(network.config(), inputs.hidden_BCTHW), frames, mode,
                       at::TensorOptions().device(store.device).dtype(store.compute_dtype));
  inputs.text_key_values = &cache.text();
  at::Tensor velocity_BCTHW = network.forward(inputs);
  cache.end_pass(*inputs.streaming);
  return velocity_BCTHW;
}

}  // namespace zoetrope
