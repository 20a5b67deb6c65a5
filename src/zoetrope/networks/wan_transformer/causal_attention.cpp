#include "zoetrope/networks/wan_transformer/causal_attention.h"

#include <algorithm>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

IndexRange tokens(const IndexRange& frames, int64_t tokens_per_frame) {
  return {frames.begin * tokens_per_frame, frames.end * tokens_per_frame};
}

/// The blocks of a clip in order.
std::vector<IndexRange> blocks_of(const CausalAttention& attention, int64_t num_frames) {
  std::vector<IndexRange> blocks;
  for (int64_t begin = 0; begin < num_frames; begin += attention.num_frames_per_block)
    blocks.push_back({begin, std::min(begin + attention.num_frames_per_block, num_frames)});
  return blocks;
}

/// Appends `range`, as one with the last where they touch; empty ones are left out.
void append(std::vector<IndexRange>& ranges, const IndexRange& range) {
  if (range.size() <= 0) return;
  if (!ranges.empty() && ranges.back().end == range.begin) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}

}  // namespace

void CausalAttention::check() const {
  if (num_frames_per_block < 1)
    fail("causal attention: num_frames_per_block must be at least 1, but is {}",
         num_frames_per_block);
  if (sink_size < 0) fail("causal attention: sink_size must be at least 0, but is {}", sink_size);
  if (local_attn_size && *local_attn_size < sink_size + num_frames_per_block) {
    fail(
        "causal attention: local_attn_size must hold the sinks and a block, {} + {} frames, but is "
        "{}",
        sink_size, num_frames_per_block, *local_attn_size);
  }
}

int64_t AttentionRegion::num_keys() const {
  int64_t count = 0;
  for (const IndexRange& range : keys) count += range.size();
  return count;
}

std::vector<IndexRange> visible_frames(const CausalAttention& attention, int64_t end) {
  if (!attention.local_attn_size || end <= *attention.local_attn_size) return {{0, end}};
  std::vector<IndexRange> frames;
  append(frames, {0, attention.sink_size});
  append(frames, {end - (*attention.local_attn_size - attention.sink_size), end});
  return frames;
}

AttentionRegions block_causal_regions(const CausalAttention& attention, int64_t num_frames,
                                      int64_t tokens_per_frame) {
  AttentionRegions regions;
  for (const IndexRange& block : blocks_of(attention, num_frames)) {
    AttentionRegion region{tokens(block, tokens_per_frame), {}};
    for (const IndexRange& frames : visible_frames(attention, block.end))
      append(region.keys, tokens(frames, tokens_per_frame));
    regions.push_back(std::move(region));
  }
  return regions;
}

AttentionRegions teacher_forcing_regions(const CausalAttention& attention, int64_t num_frames,
                                         int64_t tokens_per_frame) {
  AttentionRegions regions = block_causal_regions(attention, num_frames, tokens_per_frame);
  const int64_t noisy = num_frames * tokens_per_frame;
  for (const IndexRange& block : blocks_of(attention, num_frames)) {
    const IndexRange own = tokens(block, tokens_per_frame);
    AttentionRegion region{{noisy + own.begin, noisy + own.end}, {}};
    for (const IndexRange& frames : visible_frames(attention, block.end)) {
      const IndexRange before{frames.begin, std::min(frames.end, block.begin)};
      append(region.keys, tokens(before, tokens_per_frame));
    }
    append(region.keys, region.queries);
    regions.push_back(std::move(region));
  }
  return regions;
}

}  // namespace zoetrope
