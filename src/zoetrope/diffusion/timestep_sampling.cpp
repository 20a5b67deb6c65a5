#include "zoetrope/diffusion/timestep_sampling.h"

#include <numbers>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/flow_match_schedule.h"

namespace zoetrope {

at::Tensor timestep_positions(const at::Tensor& draws, const TimestepDensityOptions& options) {
  switch (options.density) {
    case TimestepDensity::kUniform:
      return draws;
    case TimestepDensity::kLogitNormal:
      return (draws * options.logit_std + options.logit_mean).sigmoid();
    case TimestepDensity::kMode: {
      const at::Tensor cosine = (draws * (std::numbers::pi / 2.0)).cos();
      return 1.0 - draws - options.mode_scale * (cosine.square() - 1.0 + draws);
    }
  }
  fail<Error>("timestep density: unknown value {}", static_cast<int>(options.density));
}

at::Tensor position_to_index(const at::Tensor& positions, int64_t num_entries) {
  return (positions * num_entries).to(at::kLong).clamp(0, num_entries - 1);
}

at::Tensor shift_and_clamp_timesteps(const at::Tensor& timesteps, double shift, double minimum,
                                     double maximum) {
  at::Tensor shifted = timesteps.to(at::kFloat);
  if (shift != 1.0)
    shifted = shift_sigmas(shifted / kNumTrainTimesteps, shift) * kNumTrainTimesteps;
  return shifted.clamp(minimum, maximum);
}

at::Tensor gaussian_timestep_weights(const at::Tensor& positions_N) {
  const double count = static_cast<double>(positions_N.numel());
  const at::Tensor bell =
      (-2.0 * ((positions_N.to(at::kFloat) - count / 2.0) / count).square()).exp();
  const at::Tensor lowered = bell - bell.min();
  return lowered * (count / lowered.sum());
}

}  // namespace zoetrope
