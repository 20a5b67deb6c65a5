#include "zoetrope/models/wan_game/wan_game_model.h"

#include "zoetrope/base/error.h"

namespace zoetrope {

WanTransformerConfig game_network_config(const WanModelConfig& config, bool is_causal) {
  WanTransformerConfig network = read_network_config(config);
  if (!network.is_game) {
    fail<ConfigError>(
        "{}: must hold a network that actions steer (MatrixGame2WanModel), but its "
        "transformer/config.json has _class_name {}; use WanModel or WanCausalModel",
        config.init_from, class_name(network));
  }
  network.is_causal = is_causal;
  return network;
}

WanGameModel::WanGameModel(const WanModelConfig& config, const ModelContext& context)
    : WanModel(config, context, game_network_config(config, /*is_causal=*/false)) {}

}  // namespace zoetrope
