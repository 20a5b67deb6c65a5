// Keys and values of the frames that a streaming Wan transformer has committed: memory for the
// whole attention window is taken once, the sinks stay in front and the other frames follow each
// other in a ring, so that nothing is ever moved. Attention does not depend on the order of keys.
// Knows no weights. Source: Self-Forcing (Huang et al., 2506.08009), rolling key-value cache.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "zoetrope/distributed/tensor_parallel.h"
#include "zoetrope/networks/wan_transformer/streaming_pass.h"
#include "zoetrope/networks/wan_transformer/text_key_values.h"
#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

/// What the frames of one rollout have in common.
struct CacheClip {
  int64_t batch = 0;
  int64_t rows = 0;  ///< of tokens
  int64_t columns = 0;

  bool operator==(const CacheClip&) const = default;
};

class KeyValueCache {
 public:
  /// Room for attention.local_attn_size frames, or without one for `max_frames`; memory is taken by
  /// the first pass. `name` is for messages; each rank of the network's groups, which may be
  /// null, holds its share of the self attention's heads. Throws Error as CausalAttention::check
  /// and when neither is given.
  KeyValueCache(std::string name, const WanTransformerConfig& config,
                const CausalAttention& attention, int64_t max_frames,
                GroupPointer sequence_group = nullptr, GroupPointer tensor_group = nullptr);
  KeyValueCache(const KeyValueCache&) = delete;  // copies would share the memory
  KeyValueCache& operator=(const KeyValueCache&) = delete;

  /// Forgets frames, text and clip. The next clip uses the memory again if it has the same size,
  /// and if no pass over this one still needs it for its gradient.
  void clear();

  const CausalAttention& attention() const { return attention_; }
  int64_t num_blocks() const { return config_.num_layers; }
  int64_t capacity_frames() const { return capacity_; }
  /// One past the last committed frame.
  int64_t end_frame() const { return end_frame_; }
  /// Keys and values of a layer (StreamingPass) that later chunks may see: [B, L, D], sinks, then
  /// by frame; of this rank's heads.
  CachedBlock held(int64_t layer) const;
  /// Bytes that this rank holds for one frame of `clip` in all layers together.
  int64_t bytes_per_frame(const CacheClip& clip, at::ScalarType dtype) const;
  /// Projected text and the cross attention's keys and values, kept for as long as the text stays.
  TextKeyValues& text() { return text_; }

  /// Begins a pass over frames [start, start + num_frames). Throws Error when the cache was made
  /// for another clip, when frames before `start` are missing or no longer held, or when the frames
  /// do not fit.
  std::shared_ptr<StreamingPass> begin_pass(const CacheClip& clip, const IndexRange& frames,
                                            StreamingMode mode, const at::TensorOptions& options);
  /// Ends the pass that begin_pass returned last; a storing pass commits its frames.
  void end_pass(const StreamingPass& pass);

  /// Copies of the frames and of the text's keys and values, so that a restored cache gives the
  /// same bits also where weights have changed since; empty when nothing is held. All ranks of the
  /// groups must call it together, and get the same, of all heads.
  StateDict state_dict() const;
  /// Holds what `state` says, `options` as begin_pass gets them. `text_BLE` is the text (of a
  /// game network, the image tokens) that comes with the next passes, the one that the state was
  /// made with. Throws CheckpointError when the
  /// state is of another network or window.
  void load_state_dict(const StateDict& state, const at::Tensor& text_BLE,
                       const at::TensorOptions& options);

 private:
  /// How much one layer holds; nothing for a layer that a block does not have.
  struct LayerWidth {
    int64_t keys_per_frame = 0;
    int64_t width = 0;
  };

  void check_clip(const CacheClip& clip) const;
  void check_frames(const IndexRange& frames) const;
  std::vector<LayerWidth> layer_widths(const CacheClip& clip) const;
  void allocate(const CacheClip& clip, const at::TensorOptions& options);
  bool holds(int64_t slot) const;
  /// Whether a pass's gradient may still come.
  bool has_readers();
  void protect_readers(const std::vector<IndexRange>& slots);
  /// Of a layer: the slots that hold frames.
  CachedBlock filled_slots(const CachedBlock& layer) const;
  /// Between the heads of this rank and all of them, where layer `index` is shared.
  at::Tensor with_all_heads(size_t index, const at::Tensor& own_BLw) const;
  at::Tensor own_heads(size_t index, const at::Tensor& all_BLD) const;
  bool is_shared(size_t index) const;
  /// The text's keys and values with all heads, and back.
  StateDict text_state() const;
  void load_text_state(const StateDict& state, const at::Tensor& text_BLE, at::Device device);

  std::string name_;
  WanTransformerConfig config_;
  CausalAttention attention_;
  int64_t capacity_;
  GroupPointer sequence_group_;
  GroupPointer tensor_group_;
  CacheClip clip_;
  std::vector<CachedBlock> layers_;                    ///< as StreamingPass has them
  std::vector<std::weak_ptr<StreamingPass>> readers_;  ///< passes whose gradient may still come
  TextKeyValues text_;
  int64_t end_frame_ = 0;
  bool in_use_ = false;   ///< frames or text are held for clip_
  bool in_pass_ = false;  ///< a pass began and has not ended
};

}  // namespace zoetrope
