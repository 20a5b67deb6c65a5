// From a clip's conditions to the inputs of a Wan transformer's pass: what the network takes of
// them, of the frames that the pass is over.
#pragma once

#include "zoetrope/networks/conditioning.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope {

/// The channels that the network takes beside the noisy latents [B, out_channels, T, H, W] are
/// appended: image latents of frames [start_frame, start_frame + T), zero where the clip has ended.
/// Throws c10::Error when the network takes an image and `conditioning` has none of this size.
at::Tensor with_image_latents(const WanTransformerConfig& config, const at::Tensor& latents_BCTHW,
                              const Conditioning& conditioning, int64_t start_frame);

/// Inputs of a pass over the frames from start_frame on; hidden_BCTHW in the type `dtype`, text and
/// image tokens as they are in `conditioning`.
WanTransformerInputs conditioned_inputs(const WanTransformerConfig& config, at::ScalarType dtype,
                                        const at::Tensor& noisy_BCTHW, const at::Tensor& timestep,
                                        const Conditioning& conditioning, int64_t start_frame);

}  // namespace zoetrope
