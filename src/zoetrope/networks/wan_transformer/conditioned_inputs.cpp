#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace zoetrope {

at::Tensor with_image_latents(const WanTransformerConfig& config, const at::Tensor& latents_BCTHW,
                              const Conditioning& conditioning, int64_t start_frame) {
  const int64_t num_channels = config.in_channels - config.out_channels;
  if (num_channels == 0) return latents_BCTHW;
  const at::Tensor& image_BTCHW = conditioning.image_latents_BTCHW;
  TORCH_CHECK(image_BTCHW.defined() && image_BTCHW.dim() == 5 &&
                  image_BTCHW.size(0) == latents_BCTHW.size(0) &&
                  image_BTCHW.size(2) == num_channels &&
                  image_BTCHW.size(3) == latents_BCTHW.size(3) &&
                  image_BTCHW.size(4) == latents_BCTHW.size(4),
              "image latents must be [B, T, ", num_channels,
              ", H, W] as the noisy latents [B, C, T, H, W], but are ",
              image_BTCHW.defined() ? image_BTCHW.sizes() : at::IntArrayRef(), " beside ",
              latents_BCTHW.sizes());
  const int64_t num_frames = latents_BCTHW.size(2);
  TORCH_CHECK(start_frame >= conditioning.first_frame, "image latents must begin at frame ",
              start_frame, " or before, but begin at ", conditioning.first_frame);
  const int64_t begin = std::min(start_frame - conditioning.first_frame, image_BTCHW.size(1));
  const int64_t num_given = std::min(num_frames, image_BTCHW.size(1) - begin);
  const at::Tensor window_BCTHW =
      at::constant_pad_nd(image_BTCHW.narrow(1, begin, num_given).transpose(1, 2),
                          {0, 0, 0, 0, 0, num_frames - num_given});
  return at::cat({latents_BCTHW, window_BCTHW.to(latents_BCTHW.scalar_type())}, 1);
}

WanTransformerInputs conditioned_inputs(const WanTransformerConfig& config, at::ScalarType dtype,
                                        const at::Tensor& noisy_BCTHW, const at::Tensor& timestep,
                                        const Conditioning& conditioning, int64_t start_frame) {
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW =
      with_image_latents(config, noisy_BCTHW.to(dtype), conditioning, start_frame);
  inputs.timestep = timestep;
  if (config.has_text()) inputs.text_BLE = conditioning.text_embedding_BLD;
  if (config.image_dim) inputs.image_BLE = conditioning.image_embedding_BLD;
  if (config.action) {
    inputs.actions = {conditioning.keyboard_BFK, conditioning.mouse_BF2,
                      config.action->vae_time_compression_ratio * conditioning.first_frame};
  }
  return inputs;
}

}  // namespace zoetrope
