// What an image-to-video network is told of its first frame: a mask that says which frames are
// given, and their latents. Source: Wan Team 2025, section 5.1; diffusers'
// WanImageToVideoPipeline.prepare_latents. Legend: B batch, C channels, T latent frames, H, W
// latent height and width.
#pragma once

#include <ATen/core/Tensor.h>

#include "zoetrope/networks/wan_vae/wan_vae.h"

namespace zoetrope {

/// Channels of the mask: one for each pixel frame of a latent frame.
inline constexpr int64_t kFrameMaskChannels = 4;

/// Normalised latents [B, C, T, H, W] of a clip of `num_frames` pixel frames that begins with
/// `pixels` [B, 3, pixel height, pixel width] in [-1, 1] and goes on with zeros (grey).
at::Tensor encode_first_frame(const WanVae& vae, const at::Tensor& pixels_BCHW, int64_t num_frames);

/// [mask, latents] along the channels, for a clip of which the first frame is given: [B, T, 4 + C,
/// H, W] in the type of `latents`.
at::Tensor with_first_frame_mask(const at::Tensor& latents_BTCHW);

}  // namespace zoetrope
