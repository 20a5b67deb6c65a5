// The noise schedule of flow matching as a table: sigmas, timesteps, add_noise and the Euler step
// by nearest entry. Convention: x_t = (1 - sigma) x0 + sigma noise, velocity = noise - x0, timestep
// = 1000 sigma. Pure tensor functions; knows no config and no network, and never waits for the
// device. Source: Lipman et al. 2023 (flow matching), Esser et al. 2024 (timestep shift).
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

inline constexpr int64_t kNumTrainTimesteps = 1000;

/// A descending table of N noise levels on one device.
class FlowMatchSchedule {
 public:
  /// `sigmas_N`: fp32 [N], descending, in [0, 1]. Throws Error for another type or rank.
  explicit FlowMatchSchedule(at::Tensor sigmas_N);

  int64_t size() const { return sigmas_N_.size(0); }
  at::Device device() const { return sigmas_N_.device(); }
  const at::Tensor& sigmas() const { return sigmas_N_; }        ///< fp32 [N]
  const at::Tensor& timesteps() const { return timesteps_N_; }  ///< fp32 [N], 1000 sigma

  /// int64 of the shape of `timesteps` (any shape and type): the entry whose timestep is nearest,
  /// the noisier one of two equally near.
  at::Tensor nearest_index(const at::Tensor& timesteps) const;
  /// fp32 of the shape of `timesteps`: sigma of the nearest entry.
  at::Tensor sigma_at(const at::Tensor& timesteps) const;
  /// (1 - sigma) clean + sigma noise in fp32, returned in the type of `noise`. `timesteps` has one
  /// element, or its shape is the beginning of the shape of `clean` ([B] or [B, T] for BTCHW, [B*T]
  /// for flattened frames).
  at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise,
                       const at::Tensor& timesteps) const;
  /// One Euler step of the flow from each row's nearest entry to the next lower one (0 after the
  /// last); fp32 inside, returned in the type of `sample`. Shapes as in add_noise.
  at::Tensor euler_step(const at::Tensor& velocity, const at::Tensor& timesteps,
                        const at::Tensor& sample) const;
  /// fp32 [number of steps]: denoising steps given on the unshifted scale (1000 = pure noise, 0 =
  /// clean) moved onto this table. Throws Error for a step outside [0, N].
  at::Tensor warp_steps(const std::vector<int64_t>& steps) const;

 private:
  at::Tensor sigmas_N_;
  at::Tensor timesteps_N_;
};

/// shift * base / (1 + (shift - 1) * base) for a tensor of unshifted noise levels in [0, 1].
at::Tensor shift_sigmas(const at::Tensor& base, double shift);

/// The table of training: base levels 1, 0.999, ..., 0.001, shifted. Throws Error when shift is not
/// positive.
FlowMatchSchedule make_training_schedule(double shift, at::Device device);

/// The table of Self-Forcing: base levels from 1 towards 0 in `num_steps` equal steps, without the
/// 0, shifted.
FlowMatchSchedule make_self_forcing_schedule(double shift, at::Device device,
                                             int64_t num_steps = kNumTrainTimesteps);

/// `values` viewed so that it broadcasts over `like`: one element, or a shape that begins the shape
/// of `like`. Throws Error naming both shapes otherwise.
at::Tensor broadcast_rows(const at::Tensor& values, const at::Tensor& like);

}  // namespace zoetrope
