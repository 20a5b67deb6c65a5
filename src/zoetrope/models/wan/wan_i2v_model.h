// WanI2VModel: the bidirectional Wan 2.1 image-to-video transformer as a role. It sees the clip's
// first frame twice, as latents beside the noisy ones and as tokens of the image encoder. FastVideo
// has no trainer for it. Source: Wan Team 2025, section 5.1; diffusers' WanImageToVideoPipeline.
#pragma once

#include "zoetrope/models/wan/wan_model.h"

namespace zoetrope {

class WanI2VModel : public WanModel {
 public:
  /// As WanModel. Throws ConfigError for a network without image tokens or image latents.
  WanI2VModel(const WanModelConfig& config, const ModelContext& context);

  /// Always `i2v`: the schema is the model's, not the run's.
  std::string data_type() const override { return "i2v"; }
};

}  // namespace zoetrope
