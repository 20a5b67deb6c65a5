#include "zoetrope/models/wan_game/wan_game_causal_model.h"

#include "zoetrope/models/wan_game/wan_game_model.h"

namespace zoetrope {

WanGameCausalModel::WanGameCausalModel(const WanCausalModelConfig& config,
                                       const ModelContext& context)
    : WanCausalModel(config, context, game_network_config(config, /*is_causal=*/true)) {}

}  // namespace zoetrope
