// The projected text of one conditioning and the keys and values that every block's cross attention
// makes of it, kept over the steps of a rollout. Knows no weights: whoever changes them clears it.
#pragma once

#include <vector>

#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

struct TextKeyValues {
  struct Block {
    at::Tensor keys;    ///< normed, compute type; the layout is the block implementation's
    at::Tensor values;  ///< undefined until the block has run
  };

  at::Tensor source_BLE;  ///< the text encoder's output that all else was made from
  int64_t source_version = 0;
  bool merged_padding = false;
  at::Tensor text_BLD;
  int64_t last_text_count = 1;
  std::vector<Block> blocks;

  /// Whether this was made from exactly this text, by the same kind of blocks.
  bool is_of(const at::Tensor& text_BLE, bool merge_padding) const {
    return source_BLE.is_same(text_BLE) && source_version == text_BLE._version() &&
           merged_padding == merge_padding;
  }

  /// Copies of what was made; not the text itself.
  StateDict state_dict() const;
  /// As if this had been made from `text_BLE`, on `device`. Throws CheckpointError when `state` is
  /// of another network.
  void load_state_dict(const StateDict& state, const at::Tensor& text_BLE, size_t num_blocks,
                       at::Device device);
};

}  // namespace zoetrope
