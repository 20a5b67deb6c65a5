// WanI2VModel: the bidirectional Wan 2.1 image-to-video transformer as a role. It sees the clip's
// first frame twice, as latents beside the noisy ones and as tokens of the image encoder. FastVideo
// has no trainer for it. Source: Wan Team 2025, section 5.1; diffusers' WanImageToVideoPipeline.
#pragma once

#include "zoetrope/models/wan/wan_model.h"

namespace zoetrope {

/// `models.<role>` of a Wan image-to-video model.
struct WanI2VModelConfig : WanModelConfig {
  static void describe(config::Schema<WanI2VModelConfig>& schema);
};

class WanI2VModel : public WanModel {
 public:
  /// As WanModel. Throws CheckpointError for a network without image tokens or image latents.
  WanI2VModel(const WanI2VModelConfig& config, const ModelContext& context);

  /// Always `i2v`: the schema is the model's, not the run's.
  std::string data_type() const override { return "i2v"; }

 protected:
  /// Text, image tokens and image latents.
  Conditioning conditions_of(const Batch& raw) const override;
};

/// The latents of the first frame as `raw` has them, cut to `num_latent_frames` and with their
/// mask: fp32 [B, T, 4 + C, H, W] on the CPU. Throws DataError that names a sample when there are
/// none or they are of another size than the video's.
at::Tensor image_latents_of(const Batch& raw, int64_t num_latent_frames);

}  // namespace zoetrope
