// The frames that a window of a long clip has in common with the one before, as the teacher should
// see them: a clip's first latent stands for one pixel frame and every other for four, so a window
// that begins within a clip is given a first latent of its own by way of pixels. Knows no method.
// Source: FastVideo train/methods/distribution_matching/streaming_long_tuning.py; Yang et al. 2025
// (LongLive, arXiv 2509.22622).
#pragma once

#include <filesystem>

#include "zoetrope/networks/wan_vae/wan_vae.h"

namespace zoetrope {

class OverlapAnchor {
 public:
  /// Reads `vae_folder` in fp32. The first `num_anchor_frames` of an overlap, or all if it has
  /// fewer, are made anew. Throws CheckpointError as WanVae does.
  OverlapAnchor(const std::filesystem::path& vae_folder, at::Device device,
                int64_t num_anchor_frames);

  /// The last `num_overlap` frames of `previous_BTCHW` (normalised latents of adjacent frames), its
  /// first ones made anew: a single one from the last pixel frame of all frames up to it, several
  /// from their own pixel frames. Without gradient, in the type of `previous`.
  at::Tensor reencode(const at::Tensor& previous_BTCHW, int64_t num_overlap) const;

 private:
  at::Tensor decode(const at::Tensor& latents_BTCHW) const;
  at::Tensor encode(const at::Tensor& pixels_BCFHW, const at::Tensor& like) const;

  WanVae vae_;
  int64_t num_anchor_frames_;
};

}  // namespace zoetrope
