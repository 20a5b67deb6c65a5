// One forward pass over a chunk of frames whose self attention also sees the frames in a
// KeyValueCache. The blocks call it with their keys and values; it shows them what to attend to.
#pragma once

#include <vector>

#include "zoetrope/networks/wan_transformer/causal_attention.h"
#include "zoetrope/networks/wan_transformer/rotary_embedding.h"

namespace zoetrope {

enum class StreamingMode {
  kRead,            ///< without gradient; the cache is afterwards as it was
  kStore,           ///< without gradient; the chunk's keys and values stay in the cache
  kDifferentiable,  ///< gradient through the chunk's own keys and values; the cache is a constant
};

/// The share of the cache that one attention of one block has: [B, capacity * keys per frame, D],
/// keys normed and, but for a self attention by relative policy, rotated.
struct CachedBlock {
  at::Tensor keys;
  at::Tensor values;
};

/// What a chunk's queries attend to: [B, L, D], in any order of frames.
struct VisibleKeys {
  at::Tensor keys;
  at::Tensor values;
};

/// Where frames lie in a cache.
struct CacheLayout {
  int64_t capacity = 0;   ///< frames
  int64_t sink_size = 0;  ///< frames that keep their slots; the others go round

  int64_t slot(int64_t frame) const {
    return frame < sink_size ? frame : sink_size + (frame - sink_size) % (capacity - sink_size);
  }
  /// The slots of `frames` in the order of frames, adjacent ones joined.
  std::vector<IndexRange> slots(const IndexRange& frames) const;
};

class StreamingPass {
 public:
  struct Options {
    StreamingMode mode = StreamingMode::kRead;
    IndexRange frames;       ///< the chunk
    bool overwrites = true;  ///< the chunk's slots hold frames that a reading pass must put back
    CacheLayout layout;
    RotaryPolicy rotary_policy = RotaryPolicy::kAbsolute;
    int64_t num_blocks = 0;
  };

  /// `layers` share the cache's memory: the self attention of every block, then, for a network that
  /// actions steer, the mouse attention and the keyboard attention of every block (undefined where
  /// a block has none).
  StreamingPass(const Options& options, std::vector<CachedBlock> layers);

  int64_t self_layer(int64_t block) const { return block; }
  int64_t mouse_layer(int64_t block) const { return options_.num_blocks + block; }
  int64_t keyboard_layer(int64_t block) const { return 2 * options_.num_blocks + block; }

  StreamingMode mode() const { return options_.mode; }
  const IndexRange& frames() const { return options_.frames; }
  /// Temporal position of the chunk's first frame.
  int64_t first_position() const;
  /// True when the self attention's keys come and are kept without rotation, to be rotated by their
  /// place in the window.
  bool rotates_keys() const { return options_.rotary_policy == RotaryPolicy::kRelative; }
  /// Sets how keys are rotated where rotates_keys(): tables of num_positions() frames from 0.
  void set_key_rotation(const RotaryTables& tables);
  /// Frames that the chunk sees, itself included.
  int64_t num_visible_frames() const { return static_cast<int64_t>(key_frames_.size()); }

  /// Keys and values (compute type) of the chunk, [B, N, D]; returns all that its queries see. In
  /// kDifferentiable the chunk's own come last, and the call may be repeated in the backward pass.
  VisibleKeys extend(int64_t layer, const at::Tensor& keys_BND, const at::Tensor& values_BND);
  /// To be called when the layer has attended, before another is extended.
  void finish(int64_t layer);

  /// Slots that the pass reads beside the chunk's own.
  const std::vector<IndexRange>& context_slots() const { return context_slots_; }
  /// Copies what the pass reads, because the cache is about to change.
  void keep_context();

 private:
  at::Tensor slots_of(const at::Tensor& cached, const IndexRange& slots) const;
  void write(const at::Tensor& cached, const at::Tensor& chunk_BND) const;
  at::Tensor read_own(const at::Tensor& cached) const;
  at::Tensor with_context(const at::Tensor& cached, const at::Tensor& kept,
                          const at::Tensor& chunk_BND) const;
  at::Tensor context(const at::Tensor& cached) const;
  at::Tensor rotate(const at::Tensor& keys_BLD) const;

  Options options_;
  std::vector<CachedBlock> layers_;
  std::vector<CachedBlock> kept_;  ///< context after keep_context, else empty
  std::vector<IndexRange> own_slots_;
  std::vector<IndexRange> context_slots_;
  std::vector<int64_t> key_frames_;  ///< the frame of each frame of keys, as extend returns them
  CachedBlock put_back_;             ///< what the chunk's slots of the current layer held
  RotaryTables key_rotation_;
};

}  // namespace zoetrope
