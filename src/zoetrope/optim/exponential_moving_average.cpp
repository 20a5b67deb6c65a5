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

NamedTensors ExponentialMovingAverage::tensors() const {
  NamedTensors tensors;
  for (size_t i = 0; i < averages_.size(); ++i) {
    for (const Parameter& parameter : parameters_.groups()[i].parameters) {
      tensors.emplace_back(parameter.name, averages_[i]
                                               .narrow(0, parameter.offset, parameter.value.numel())
                                               .view(parameter.value.sizes()));
    }
  }
  return tensors;
}

void ExponentialMovingAverage::load_state_dict(const NamedTensors& state) {
  at::NoGradGuard no_grad;
  for (const auto& [name, target] : tensors()) {
    const auto given = std::find_if(state.begin(), state.end(), [&name = name](const auto& entry) {
      return entry.first == name;
    });
    if (given == state.end())
      fail<CheckpointError>("moving average: must hold '{}', but it is missing", name);
    if (given->second.sizes() != target.sizes()) {
      fail<CheckpointError>("moving average: '{}' must have shape {}, but has {}", name,
                            format_shape(target.sizes()), format_shape(given->second.sizes()));
    }
    target.copy_(given->second);
  }
}

}  // namespace zoetrope
