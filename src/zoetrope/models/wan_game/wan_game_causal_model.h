// WanGameCausalModel: the causal form of WanGameModel, which streams: press a key, see the next
// frames. The actions of its conditions are those of the whole clip; a streaming call reads the
// rows of its chunk and those before. Source: FastVideo
// train/models/matrixgame2/matrixgame2_causal.py.
#pragma once

#include "zoetrope/models/wan/wan_causal_model.h"

namespace zoetrope {

class WanGameCausalModel : public WanCausalModel {
 public:
  /// As WanCausalModel. Throws ConfigError when `init_from` is not a game network; a bidirectional
  /// one whose tensors fit is the usual beginning.
  WanGameCausalModel(const WanCausalModelConfig& config, const ModelContext& context);
};

}  // namespace zoetrope
