// From noisy latents and conditions to the inputs of a Wan transformer, text to video or image to
// video. Legend: B batch, C latent channels, T latent frames, H, W latent height and width.
#pragma once

#include "zoetrope/networks/conditioning.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope {

/// Image latents, where there are any, become the channels behind the noisy ones: those of the
/// clip's first T frames.
WanTransformerInputs conditioned_inputs(const at::Tensor& noisy_BCTHW, const at::Tensor& timestep,
                                        const Conditioning& conditioning);

}  // namespace zoetrope
