// What the latents of clips look like, in a few numbers: level, variance, motion, contrast and the
// statistics of their channels, which stand for colours. Tensor functions that never wait for the
// device; knows no threshold. Legend: B batch, T latent frames, C channels, H, W latent height and
// width.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// latent_statistics() on the host, possibly averaged over many clips.
struct LatentSummary {
  double mean = 0.0;
  double variance = 0.0;
  /// Mean absolute difference of adjacent latent frames; 0 for clips of one frame. The first frame
  /// is left out of clips of three and more: it stands for one pixel frame and the others for four
  /// each, so that it differs from them even where nothing moves.
  double motion = 0.0;
  /// Standard deviation within one channel of one frame, averaged: 0 for solid frames.
  double contrast = 0.0;
  std::vector<double> channel_means;
  std::vector<double> channel_spreads;  ///< standard deviation of a channel over clips and frames
};

/// fp32 [4 + 2C] on the device of the latents: mean, variance, motion, contrast, means and spreads
/// of the channels.
at::Tensor latent_statistics(const at::Tensor& latents_BTCHW);

/// The numbers of latent_statistics() by name.
LatentSummary summarize(const std::vector<double>& statistics);

/// |mean - reference mean| over the reference's spread, both averaged over the channels.
double colour_shift(const LatentSummary& clips, const LatentSummary& reference);

/// Spread over the reference's, both averaged over the channels.
double saturation(const LatentSummary& clips, const LatentSummary& reference);

/// Root mean square difference of clips that belong together, averaged over the batch: fp32 [1].
at::Tensor clip_distance(const at::Tensor& a_BTCHW, const at::Tensor& b_BTCHW);

}  // namespace zoetrope
