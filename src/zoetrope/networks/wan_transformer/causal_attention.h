// Which tokens a causal Wan transformer attends to: blocks of frames see themselves and earlier
// frames, within a window that keeps the first frames ("sinks"). Plain integers; knows no tensor.
// Source: CausVid (Yin et al., 2412.07772) for blocks, Self-Forcing (Huang et al., 2506.08009) for
// windows, StreamingLLM (Xiao et al., 2309.17453) for sinks.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace zoetrope {

/// Temporal positions of keys in a window that has moved on.
enum class RotaryPolicy {
  kAbsolute,  ///< that of their frame in the clip
  kRelative,  ///< their place in the window, so that positions stay as small as in training
};

struct CausalAttention {
  int64_t num_frames_per_block = 3;
  /// Most frames that a block sees, itself and the sinks included; none means all before it.
  std::optional<int64_t> local_attn_size;
  int64_t sink_size = 0;  ///< first frames of the clip, which are seen forever
  RotaryPolicy rotary_policy = RotaryPolicy::kAbsolute;

  /// Throws Error when a block does not fit into its window beside the sinks.
  void check() const;
  bool operator==(const CausalAttention&) const = default;
};

/// Half-open range of frames or tokens.
struct IndexRange {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  bool operator==(const IndexRange&) const = default;
};

/// Queries that see the same keys. The regions of a pass cover its queries in order.
struct AttentionRegion {
  IndexRange queries;
  std::vector<IndexRange> keys;  ///< ascending, not adjacent

  int64_t num_keys() const;
};

using AttentionRegions = std::vector<AttentionRegion>;

/// The frames, itself included, that a block sees whose last frame is end - 1.
std::vector<IndexRange> visible_frames(const CausalAttention& attention, int64_t end);

/// One region for each block of a clip; the last block may be shorter.
AttentionRegions block_causal_regions(const CausalAttention& attention, int64_t num_frames,
                                      int64_t tokens_per_frame);

/// For the sequence [clean clip | noisy clip]: clean blocks see clean ones as above, a noisy block
/// sees itself and the clean frames before it that its window holds.
AttentionRegions teacher_forcing_regions(const CausalAttention& attention, int64_t num_frames,
                                         int64_t tokens_per_frame);

}  // namespace zoetrope
