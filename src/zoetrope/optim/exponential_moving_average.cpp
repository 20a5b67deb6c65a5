#include "zoetrope/optim/exponential_moving_average.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/kernels/flat_updates.h"

namespace zoetrope {

ExponentialMovingAverage::ExponentialMovingAverage(ParameterStore& parameters, double decay)
    : parameters_(parameters), decay_(decay) {
  if (!parameters.trainable())
    fail("moving average: must be given a trainable network, but it is frozen");
  for (const ParameterGroup& group : parameters.groups())
    averages_.push_back(group.flat_master.clone());
}

void ExponentialMovingAverage::update() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor& current = parameters_.groups()[i].flat_master;
    if (current.is_cpu()) {
      kernels::moving_average_update(averages_[i], current, decay_);
    } else {
      averages_[i].mul_(decay_).add_(current, 1.0 - decay_);
    }
  }
}

void ExponentialMovingAverage::swap() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor live = parameters_.groups()[i].flat_master;
    const at::Tensor copy = live.clone();
    live.copy_(averages_[i]);
    averages_[i].copy_(copy);
  }
  parameters_.refresh_values();
}

}  // namespace zoetrope
