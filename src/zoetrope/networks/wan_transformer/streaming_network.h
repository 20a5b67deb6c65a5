// A causal network as sampling sees it: functions that generate a clip chunk by chunk, with a
// key-value cache of their own behind them.
#pragma once

#include <functional>
#include <optional>

#include "zoetrope/networks/conditioning.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"

namespace zoetrope {

struct StreamingNetwork {
  /// (noisy_BCTHW, timestep_B, conditioning, chunk) -> velocity_BCTHW of a chunk of frames, which
  /// sees itself and the chunks that were stored. Throws Error as KeyValueCache::begin_pass.
  using Velocity =
      std::function<at::Tensor(const at::Tensor& noisy_BCTHW, const at::Tensor& timestep_B,
                               const Conditioning& conditioning, const ChunkOptions& chunk)>;

  int64_t num_frames_per_block = 3;
  /// Most latent frames of a clip, whatever the cache has room for; none means any number.
  std::optional<int64_t> max_frames = std::nullopt;
  Velocity velocity;
  std::function<void()> start_clip;  ///< forgets the clip before
};

/// Streams `network`, which must outlive the result, with the weights of the moment. The cache has
/// room for the attention's window, or without one for `cache_frames` latent frames; its memory is
/// freed with the result. Throws Error as KeyValueCache.
StreamingNetwork make_streaming_network(WanTransformer& network, const CausalAttention& attention,
                                        int64_t cache_frames);

}  // namespace zoetrope
