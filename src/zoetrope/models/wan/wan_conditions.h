// The conditions of a batch for a Wan transformer: what the network takes decides which columns are
// read. Source: FastVideo train/models/wan/wan.py, train/models/matrixgame2/matrixgame2.py.
#pragma once

#include "zoetrope/data/batch.h"
#include "zoetrope/networks/conditioning.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"

namespace zoetrope {

struct ConditionOptions {
  int64_t num_latent_frames = 0;  ///< of the clip
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};

/// Text from `text_embedding`; the image from `clip_feature` and `first_frame_latent` (normalised,
/// 16 channels, or 20 with a mask in front; frames that it does not have are zero); actions from
/// `keyboard_cond` and `mouse_cond`, cut to the clip. Throws DataError that names the sample when a
/// column is empty, of another width or too short.
Conditioning read_conditions(const WanTransformerConfig& network, const Batch& raw,
                             const ConditionOptions& options);

}  // namespace zoetrope
