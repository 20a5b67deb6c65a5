// What a video network is conditioned on, for training and sampling alike. Members that a model
// does not use are undefined. Legend: B batch, L tokens, D width, T latent frames, C channels, H, W
// latent height and width, F pixel frames (4 (T - 1) + 1), K keys.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// Of a whole clip, also where a network sees a part of its frames.
struct Conditioning {
  at::Tensor text_embedding_BLD;  ///< compute dtype, zero-padded to the text length; padding is
                                  ///< attended to
  at::Tensor
      text_attention_mask_BL;  ///< 1 for text, 0 for padding; stored with the data, unused by Wan
  at::Tensor
      image_embedding_BLD;  ///< tokens of the image encoder for the first frame, compute dtype
  at::Tensor image_latents_BTCHW;  ///< mask (4 channels, 1 where a frame is given) and the given
                                   ///< frames' normalised latents (16 channels)
  at::Tensor keyboard_BFK;         ///< one row of keys for each pixel frame, compute dtype
  at::Tensor mouse_BF2;            ///< movement of the mouse for each pixel frame, compute dtype
};

}  // namespace zoetrope
