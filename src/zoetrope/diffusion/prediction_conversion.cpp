#include "zoetrope/diffusion/prediction_conversion.h"

#include <ATen/ATen.h>

#include "zoetrope/diffusion/flow_match_schedule.h"

namespace zoetrope {
namespace {

template <class Formula>
at::Tensor convert(const at::Tensor& prediction, const at::Tensor& noisy, const at::Tensor& sigma,
                   Formula formula) {
  const at::Tensor sigma_rows = broadcast_rows(sigma.to(noisy.device(), at::kDouble), noisy);
  return formula(prediction.to(at::kDouble), noisy.to(at::kDouble), sigma_rows)
      .to(prediction.scalar_type());
}

}  // namespace

at::Tensor velocity_to_clean(const at::Tensor& velocity, const at::Tensor& noisy,
                             const at::Tensor& sigma) {
  return convert(velocity, noisy, sigma,
                 [](const auto& v, const auto& x, const auto& s) { return x - s * v; });
}

at::Tensor velocity_to_noise(const at::Tensor& velocity, const at::Tensor& noisy,
                             const at::Tensor& sigma) {
  return convert(velocity, noisy, sigma,
                 [](const auto& v, const auto& x, const auto& s) { return x + (1.0 - s) * v; });
}

at::Tensor clean_to_velocity(const at::Tensor& clean, const at::Tensor& noisy,
                             const at::Tensor& sigma) {
  return convert(clean, noisy, sigma,
                 [](const auto& x0, const auto& x, const auto& s) { return (x - x0) / s; });
}

at::Tensor clean_to_noise(const at::Tensor& clean, const at::Tensor& noisy,
                          const at::Tensor& sigma) {
  return convert(clean, noisy, sigma, [](const auto& x0, const auto& x, const auto& s) {
    return (x - (1.0 - s) * x0) / s;
  });
}

at::Tensor noise_to_clean(const at::Tensor& noise, const at::Tensor& noisy,
                          const at::Tensor& sigma) {
  return convert(noise, noisy, sigma, [](const auto& e, const auto& x, const auto& s) {
    return (x - s * e) / (1.0 - s);
  });
}

at::Tensor noise_to_velocity(const at::Tensor& noise, const at::Tensor& noisy,
                             const at::Tensor& sigma) {
  return convert(noise, noisy, sigma,
                 [](const auto& e, const auto& x, const auto& s) { return (e - x) / (1.0 - s); });
}

}  // namespace zoetrope
