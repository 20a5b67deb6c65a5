// What a video network is conditioned on, for training and sampling alike. Members that a model
// does not use are undefined. Legend: B batch, L tokens, D width, T latent frames, C channels, H, W
// latent height and width, F pixel frames (4 (T - 1) + 1), K keys.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// Of a whole clip, also where a network sees a part of its frames (but see first_frame).
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
  /// The latent frame that image_latents begin with, and keyboard and mouse with its pixel frame 4
  /// first_frame. Above 0 only in streams without end, whose earlier frames nobody looks at again.
  int64_t first_frame = 0;

  /// B; 0 when nothing is defined.
  int64_t num_rows() const;
  Conditioning to(at::ScalarType dtype) const;
};

struct NamedCondition {
  const char* name;
  at::Tensor Conditioning::*member;
};

/// Every tensor of a Conditioning, by its name in checkpoints.
inline constexpr std::array kConditions = {
    NamedCondition{"text_embedding", &Conditioning::text_embedding_BLD},
    NamedCondition{"text_attention_mask", &Conditioning::text_attention_mask_BL},
    NamedCondition{"image_embedding", &Conditioning::image_embedding_BLD},
    NamedCondition{"image_latents", &Conditioning::image_latents_BTCHW},
    NamedCondition{"keyboard", &Conditioning::keyboard_BFK},
    NamedCondition{"mouse", &Conditioning::mouse_BF2}};

/// The rows of `first` above those of `second`. A member that one of them lacks is taken from
/// the other; one row of `first` serves all of `second`.
Conditioning concatenate_rows(const Conditioning& first, const Conditioning& second);

/// A network as sampling sees it, training's own, an EMA copy or a file's: (noisy_BCTHW, timestep_B
/// in [0, 1000], conditioning) -> velocity_BCTHW.
using DenoisingNetwork = std::function<at::Tensor(
    const at::Tensor& noisy_BCTHW, const at::Tensor& timestep_B, const Conditioning& conditioning)>;

}  // namespace zoetrope
