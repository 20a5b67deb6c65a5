#include "zoetrope/models/wan/wan_i2v_model.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/first_frame.h"

namespace zoetrope {
namespace {

const at::Tensor& require(const Batch& raw, const std::string& name) {
  const auto found = raw.others.find(name);
  if (found == raw.others.end()) {
    fail<DataError>("{}: must have '{}', but has none; preprocess with --data-type i2v",
                    raw.info.front().describe(), name);
  }
  return found->second;
}

}  // namespace

void WanI2VModelConfig::describe(config::Schema<WanI2VModelConfig>& schema) {
  schema.inherit<WanModelConfig>();
}

WanI2VModel::WanI2VModel(const WanI2VModelConfig& config, const ModelContext& context)
    : WanModel(config, context) {
  const WanTransformerConfig& network = transformer().config();
  const int64_t wanted = 2 * network.out_channels + kFrameMaskChannels;
  if (network.in_channels == wanted && network.has_image_branch()) return;
  fail<CheckpointError>(
      "{}: must be an image-to-video transformer with {} input channels and image tokens, but has "
      "{} channels and {}; use WanModel for text to video",
      (pipeline_folder() / "transformer" / "config.json").string(), wanted, network.in_channels,
      network.has_image_branch() ? "image tokens" : "no image tokens");
}

at::Tensor image_latents_of(const Batch& raw, int64_t num_latent_frames) {
  const at::Tensor& latents_BCTHW = require(raw, "first_frame_latent");
  const bool same_size = !raw.vae_latent_BCTHW.defined() ||
                         latents_BCTHW.sizes().slice(3) == raw.vae_latent_BCTHW.sizes().slice(3);
  if (latents_BCTHW.size(2) < num_latent_frames || !same_size) {
    fail<DataError>(
        "{}: 'first_frame_latent' must have at least num_latent_t = {} latent frames of the "
        "video's size, but has shape {}",
        raw.info.front().describe(), num_latent_frames,
        format_shape(latents_BCTHW.sizes().slice(1)));
  }
  return with_first_frame_mask(latents_BCTHW.narrow(2, 0, num_latent_frames).transpose(1, 2));
}

Conditioning WanI2VModel::conditions_of(const Batch& raw) const {
  const ModelContext& run = context();
  Conditioning conditions = WanModel::conditions_of(raw);
  conditions.image_embedding_BLD =
      require(raw, "clip_feature").to(run.device, run.compute_dtype, /*non_blocking=*/true);
  conditions.image_latents_BTCHW = image_latents_of(raw, run.num_latent_frames)
                                       .to(run.device, run.compute_dtype, /*non_blocking=*/true);
  return conditions;
}

}  // namespace zoetrope
