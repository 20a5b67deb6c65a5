// Between what a network can predict: clean sample x0, noise, and velocity v = noise - x0, given
// the noisy sample x_t = (1 - sigma) x0 + sigma noise. All in float64 inside, returned in the type
// of the prediction. `sigma` has one element, or its shape begins the shape of the sample (see
// broadcast_rows). Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// x0 = x_t - sigma v.
at::Tensor velocity_to_clean(const at::Tensor& velocity, const at::Tensor& noisy,
                             const at::Tensor& sigma);
/// noise = x_t + (1 - sigma) v.
at::Tensor velocity_to_noise(const at::Tensor& velocity, const at::Tensor& noisy,
                             const at::Tensor& sigma);
/// v = (x_t - x0) / sigma; sigma must not be 0.
at::Tensor clean_to_velocity(const at::Tensor& clean, const at::Tensor& noisy,
                             const at::Tensor& sigma);
/// noise = (x_t - (1 - sigma) x0) / sigma; sigma must not be 0.
at::Tensor clean_to_noise(const at::Tensor& clean, const at::Tensor& noisy,
                          const at::Tensor& sigma);
/// x0 = (x_t - sigma noise) / (1 - sigma); sigma must not be 1.
at::Tensor noise_to_clean(const at::Tensor& noise, const at::Tensor& noisy,
                          const at::Tensor& sigma);
/// v = (noise - x_t) / (1 - sigma); sigma must not be 1.
at::Tensor noise_to_velocity(const at::Tensor& noise, const at::Tensor& noisy,
                             const at::Tensor& sigma);

}  // namespace zoetrope
