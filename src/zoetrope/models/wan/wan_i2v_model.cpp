#include "zoetrope/models/wan/wan_i2v_model.h"

#include "zoetrope/base/error.h"
#include "zoetrope/networks/first_frame.h"

namespace zoetrope {
namespace {

WanTransformerConfig image_network_config(const WanModelConfig& config) {
  WanTransformerConfig network = read_network_config(config);
  const int64_t wanted = 2 * network.out_channels + kFrameMaskChannels;
  if (network.in_channels == wanted && network.has_image_branch() && network.has_text() &&
      !network.is_game)
    return network;
  fail<ConfigError>(
      "{}: must hold an image-to-video network with text, image tokens and {} input channels, but "
      "its transformer/config.json has {} channels and {}; use WanModel for text to video, "
      "WanGameModel for games",
      config.init_from, wanted, network.in_channels,
      network.has_image_branch() ? "image tokens" : "no image tokens");
}

}  // namespace

WanI2VModel::WanI2VModel(const WanModelConfig& config, const ModelContext& context)
    : WanModel(config, context, image_network_config(config)) {}

}  // namespace zoetrope
