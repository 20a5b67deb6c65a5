// WanGameModel: image to video that keyboard and mouse steer, bidirectional, as a role. Its
// unconditional conditions are the conditional ones: guidance has nothing to leave out. Source:
// FastVideo train/models/matrixgame2/matrixgame2.py ("WanGame" before).
#pragma once

#include "zoetrope/models/wan/wan_model.h"

namespace zoetrope {

class WanGameModel : public WanModel {
 public:
  /// As WanModel. Throws ConfigError when `init_from` is not a game network; a causal one is read
  /// as a bidirectional one.
  WanGameModel(const WanModelConfig& config, const ModelContext& context);
};

/// The network of `init_from`, causal or not as `is_causal` says. Throws ConfigError when it is not
/// a game network.
WanTransformerConfig game_network_config(const WanModelConfig& config, bool is_causal);

}  // namespace zoetrope
