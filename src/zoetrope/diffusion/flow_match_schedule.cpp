#include "zoetrope/diffusion/flow_match_schedule.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

void check_shift(double shift) {
  if (!(shift > 0.0)) fail<Error>("flow shift: must be positive, but is {}", shift);
}

}  // namespace

at::Tensor shift_sigmas(const at::Tensor& base, double shift) {
  return shift * base / (1.0 + (shift - 1.0) * base);
}

at::Tensor broadcast_rows(const at::Tensor& values, const at::Tensor& like) {
  if (values.numel() == 1) return values.reshape({});
  const bool is_prefix =
      values.dim() <= like.dim() &&
      std::equal(values.sizes().begin(), values.sizes().end(), like.sizes().begin());
  if (!is_prefix) {
    fail<Error>(
        "per-row values: must have one element or a shape that begins {}, but have shape {}",
        format_shape(like.sizes()), format_shape(values.sizes()));
  }
  std::vector<int64_t> shape(values.sizes().begin(), values.sizes().end());
  shape.resize(like.dim(), 1);
  return values.reshape(shape);
}

FlowMatchSchedule::FlowMatchSchedule(at::Tensor sigmas_N) : sigmas_N_(std::move(sigmas_N)) {
  if (sigmas_N_.dim() != 1 || sigmas_N_.size(0) == 0 || sigmas_N_.scalar_type() != at::kFloat) {
    fail<Error>("flow-matching schedule: sigmas must be a non-empty fp32 vector, but have shape {}",
                format_shape(sigmas_N_.sizes()));
  }
  timesteps_N_ = sigmas_N_ * kNumTrainTimesteps;
}

at::Tensor FlowMatchSchedule::nearest_index(const at::Tensor& timesteps) const {
  const at::Tensor wanted_R1 = timesteps.to(device(), at::kFloat).reshape({-1, 1});
  return (timesteps_N_.unsqueeze(0) - wanted_R1).abs().argmin(1).reshape(timesteps.sizes());
}

at::Tensor FlowMatchSchedule::sigma_at(const at::Tensor& timesteps) const {
  return sigmas_N_.index_select(0, nearest_index(timesteps).reshape({-1}))
      .reshape(timesteps.sizes());
}

at::Tensor FlowMatchSchedule::add_noise(const at::Tensor& clean, const at::Tensor& noise,
                                        const at::Tensor& timesteps) const {
  const at::Tensor sigma = broadcast_rows(sigma_at(timesteps), clean);
  return ((1.0 - sigma) * clean.to(at::kFloat) + sigma * noise.to(at::kFloat))
      .to(noise.scalar_type());
}

at::Tensor FlowMatchSchedule::euler_step(const at::Tensor& velocity, const at::Tensor& timesteps,
                                         const at::Tensor& sample) const {
  const at::Tensor index = nearest_index(timesteps).reshape({-1});
  const at::Tensor sigmas_to_zero = at::cat({sigmas_N_, sigmas_N_.new_zeros({1})});
  const at::Tensor sigma_change =
      sigmas_to_zero.index_select(0, index + 1) - sigmas_to_zero.index_select(0, index);
  const at::Tensor change = broadcast_rows(sigma_change.reshape(timesteps.sizes()), sample);
  return (sample.to(at::kFloat) + velocity.to(at::kFloat) * change).to(sample.scalar_type());
}

at::Tensor FlowMatchSchedule::warp_steps(const std::vector<int64_t>& steps) const {
  std::vector<int64_t> indices;
  for (int64_t step : steps) {
    if (step < 0 || step > size()) {
      fail<Error>("denoising step: must be from 0 to {}, but is {}", size(), step);
    }
    indices.push_back(size() - step);
  }
  const at::Tensor table = at::cat({timesteps_N_, timesteps_N_.new_zeros({1})});
  return table.index_select(0, at::tensor(indices, at::kLong).to(device()));
}

FlowMatchSchedule make_training_schedule(double shift, at::Device device) {
  check_shift(shift);
  const at::Tensor base = at::arange(kNumTrainTimesteps, 0, -1, at::kFloat) / kNumTrainTimesteps;
  return FlowMatchSchedule(shift_sigmas(base, shift).to(device));
}

FlowMatchSchedule make_self_forcing_schedule(double shift, at::Device device, int64_t num_steps) {
  check_shift(shift);
  if (num_steps < 1)
    fail<Error>("self-forcing schedule: must have at least 1 step, but has {}", num_steps);
  const at::Tensor base = at::linspace(1.0, 0.0, num_steps + 1, at::kFloat).slice(0, 0, num_steps);
  return FlowMatchSchedule(shift_sigmas(base, shift).to(device));
}

}  // namespace zoetrope
