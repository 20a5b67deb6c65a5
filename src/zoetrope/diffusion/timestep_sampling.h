// From random numbers to timesteps: the densities of supervised fine-tuning, the shifted timesteps
// of score distillation, and the Gaussian weights over a table. Takes numbers that were drawn
// elsewhere, so that draws can be replayed; knows no generator and no config. Source: Esser et al.
// 2024, section 3.1 (logit-normal and mode densities).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace zoetrope {

enum class TimestepDensity { kUniform, kLogitNormal, kMode };

struct TimestepDensityOptions {
  TimestepDensity density = TimestepDensity::kUniform;
  double logit_mean = 0.0;
  double logit_std = 1.0;
  double mode_scale = 1.29;
};

/// Positions u in [0, 1] with the wanted density; u = 0 is pure noise. `draws` are fp32 of any
/// shape: standard normal numbers for kLogitNormal, uniform numbers of [0, 1) otherwise.
at::Tensor timestep_positions(const at::Tensor& draws, const TimestepDensityOptions& options);

/// int64: trunc(u * num_entries), where u = 1 (which rounding can reach) gives the last entry.
at::Tensor position_to_index(const at::Tensor& positions, int64_t num_entries);

/// Timesteps on the unshifted scale [0, 1000] moved to the shifted one, then limited to [minimum,
/// maximum]; fp32.
at::Tensor shift_and_clamp_timesteps(const at::Tensor& timesteps, double shift,
                                     double minimum = 0.0, double maximum = 1000.0);

/// fp32 [N]: Gaussian weights exp(-2 ((p - N/2) / N)^2), lowered so that the least is 0, scaled to
/// mean 1, of N `positions_N` (table indices 0..N-1 for diffusion forcing, timesteps for
/// Self-Forcing's own table).
at::Tensor gaussian_timestep_weights(const at::Tensor& positions_N);

}  // namespace zoetrope
