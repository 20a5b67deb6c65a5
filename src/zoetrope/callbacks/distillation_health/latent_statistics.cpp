#include "zoetrope/callbacks/distillation_health/latent_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {
namespace {

constexpr size_t kNumScalars = 4;
// A constant reference would make every difference infinite.
constexpr double kLeastSpread = 1e-6;

at::Tensor mean_motion(const at::Tensor& latents_BTCHW) {
  const int64_t num_frames = latents_BTCHW.size(1);
  if (num_frames < 2) return at::zeros({}, latents_BTCHW.options());
  const int64_t first = num_frames > 2 ? 1 : 0;
  const int64_t num_differences = num_frames - first - 1;
  return (latents_BTCHW.narrow(1, first + 1, num_differences) -
          latents_BTCHW.narrow(1, first, num_differences))
      .abs()
      .mean();
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

at::Tensor latent_statistics(const at::Tensor& latents_BTCHW) {
  at::NoGradGuard no_grad;
  const at::Tensor latents = latents_BTCHW.detach().to(at::kFloat);
  const at::Tensor contrast = latents.std({3, 4}, /*unbiased=*/false).mean();
  const at::Tensor scalars =
      at::stack({latents.mean(), latents.var(/*unbiased=*/false), mean_motion(latents), contrast});
  return at::cat(
      {scalars, latents.mean({0, 1, 3, 4}), latents.std({0, 1, 3, 4}, /*unbiased=*/false)});
}

LatentSummary summarize(const std::vector<double>& statistics) {
  const auto channels = statistics.begin() + kNumScalars;
  const auto spreads = channels + (statistics.end() - channels) / 2;
  return {statistics[0], statistics[1],       statistics[2],
          statistics[3], {channels, spreads}, {spreads, statistics.end()}};
}

double colour_shift(const LatentSummary& clips, const LatentSummary& reference) {
  double shift = 0.0;
  for (size_t c = 0; c < clips.channel_means.size(); ++c)
    shift += std::abs(clips.channel_means[c] - reference.channel_means[c]);
  return shift / std::max(sum(reference.channel_spreads), kLeastSpread);
}

double saturation(const LatentSummary& clips, const LatentSummary& reference) {
  return sum(clips.channel_spreads) / std::max(sum(reference.channel_spreads), kLeastSpread);
}

at::Tensor clip_distance(const at::Tensor& a_BTCHW, const at::Tensor& b_BTCHW) {
  at::NoGradGuard no_grad;
  const at::Tensor difference = a_BTCHW.detach().to(at::kFloat) - b_BTCHW.detach().to(at::kFloat);
  return difference.flatten(1).square().mean(1).sqrt().mean().view(1);
}

}  // namespace zoetrope
