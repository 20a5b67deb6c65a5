// A batch as the methods see it: latents normalised, noise and timesteps drawn, conditions on the
// device. Legend: B batch, T latent frames, C latent channels, H, W latent height and width.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/networks/conditioning.h"

namespace zoetrope {

/// Everything is on the model's device; latents, noise and timesteps are fp32.
struct TrainingBatch {
  at::Tensor latents_BTCHW;  ///< normalised clean latents
  /// The data's normalised latents, whatever latents_BTCHW was taken from; undefined where the data
  /// has none or shorter ones.
  at::Tensor data_latents_BTCHW;
  at::Tensor noise_BTCHW;          ///< standard normal
  at::Tensor timesteps_B;          ///< in [0, 1000]
  at::Tensor sigmas_B;             ///< in [0, 1]
  at::Tensor noisy_latents_BTCHW;  ///< (1 - sigma) latents + sigma noise
  Conditioning conditional;
  Conditioning unconditional;  ///< of the negative prompt; absent unless the method asks for it
  std::vector<int64_t> sample_indices;    ///< global index of each row, which keys its random draws
  std::vector<std::string> sample_names;  ///< for messages

  int64_t batch_size() const { return latents_BTCHW.size(0); }
};

/// Latent frames [first, first + num_frames) of every clip as clips of their own: views.
TrainingBatch frames_of(const TrainingBatch& clips, int64_t first, int64_t num_frames);

}  // namespace zoetrope
