// The Wan transformer as a causal network: the same weights and blocks, with block-causal attention
// over a whole clip, or chunk by chunk with a KeyValueCache. A clip that is streamed with the
// inputs of a whole pass gives the same output. Source: CausVid (Yin et al., 2412.07772),
// Self-Forcing (Huang et al., 2506.08009).
#pragma once

#include "zoetrope/networks/wan_transformer/key_value_cache.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope {

/// The attention that `transformer/config.json` asks for; `num_frames_per_block`, when given, in
/// place of its own. Throws Error as CausalAttention::check.
CausalAttention causal_attention_of(const WanTransformerConfig& config,
                                    std::optional<int64_t> num_frames_per_block);

/// What a run says of a causal role's attention; unset values were not given.
struct AttentionKeys {
  std::optional<int64_t> num_frames_per_block;  ///< of the role, before that of config.json
  std::optional<int64_t> local_attn_size;       ///< of the run, where config.json has none
  std::optional<int64_t> sink_size;             ///< of the run, where config.json has none
};

/// The attention in which a role of a run is trained. Throws Error as CausalAttention::check.
CausalAttention training_attention(WanTransformerConfig config, const AttentionKeys& run);

/// `config` with the keys that state `attention`. An unbounded window is left unsaid, so that a
/// later run may set one.
WanTransformerConfig with_attention(WanTransformerConfig config, const CausalAttention& attention);

/// Latent frames of a streamed clip whose temporal positions are below rope_max_seq_len; none where
/// positions go round in a window.
std::optional<int64_t> max_streamed_frames(const WanTransformerConfig& config,
                                           const CausalAttention& attention);

/// A pass over the whole clip, whose frames come in blocks that see themselves and the past. With
/// inputs.clean_BCTHW (teacher forcing) a block sees the clean frames of the past instead.
/// inputs.timestep is [B] or [B, T]; the result is [B, out_channels, T, H, W].
at::Tensor block_causal_forward(WanTransformer& network, WanTransformerInputs inputs,
                                const CausalAttention& attention);

struct ChunkOptions {
  int64_t start_frame = 0;  ///< of the chunk in the clip
  bool store = false;       ///< whether later chunks shall see this one as it is in this pass
};

/// A pass over the chunk inputs.hidden_BCTHW, which sees itself and what the cache holds. A storing
/// pass has no gradient. With grad mode on, gradient flows through the chunk alone, and what later
/// passes do to the cache does not reach it. Throws Error as KeyValueCache::begin_pass.
at::Tensor streaming_forward(WanTransformer& network, WanTransformerInputs inputs,
                             KeyValueCache& cache, const ChunkOptions& options);

}  // namespace zoetrope
