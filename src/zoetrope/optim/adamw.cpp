#include "zoetrope/optim/adamw.h"

#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/kernels/flat_updates.h"

namespace zoetrope {
namespace {

/// The twin of kernels::adamw_update in ATen operations, for devices without it.
void adamw_update_plain(const kernels::AdamWBuffers& buffers, const kernels::AdamWScalars& s) {
  const at::Tensor gradient = buffers.gradient.to(at::kFloat) * s.gradient_scale;
  at::Tensor exp_avg = buffers.exp_avg;
  at::Tensor exp_avg_sq = buffers.exp_avg_sq;
  at::Tensor master = buffers.master;
  exp_avg.lerp_(gradient, 1.0F - s.beta1);
  exp_avg_sq.mul_(s.beta2).addcmul_(gradient, gradient, 1.0F - s.beta2);
  const at::Tensor denominator = exp_avg_sq.sqrt().mul_(s.inverse_sqrt_bias2).add_(s.eps);
  master.mul_(s.decay).addcdiv_(exp_avg, denominator, -s.step_size);
  if (!buffers.value.is_alias_of(master)) buffers.value.detach().copy_(master);
}

}  // namespace

AdamW::AdamW(ParameterStore& parameters, const AdamWOptions& options)
    : parameters_(parameters), options_(options) {
  if (!parameters.trainable() || parameters.groups().empty()) {
    fail("AdamW: must be given trainable parameters, but got {}",
         parameters.groups().empty() ? "none" : "a frozen network");
  }
  for (const ParameterGroup& group : parameters.groups()) {
    moments_.push_back({at::zeros_like(group.flat_master), at::zeros_like(group.flat_master)});
  }
}

void AdamW::step(double learning_rate, double gradient_scale) {
  at::NoGradGuard no_grad;
  ++num_steps_;
  const auto t = static_cast<double>(num_steps_);
  const kernels::AdamWScalars scalars{
      static_cast<float>(gradient_scale),
      static_cast<float>(1.0 - learning_rate * options_.weight_decay),
      static_cast<float>(options_.beta1),
      static_cast<float>(options_.beta2),
      static_cast<float>(learning_rate / (1.0 - std::pow(options_.beta1, t))),
      static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t))),
      static_cast<float>(options_.eps),
  };
  for (size_t i = 0; i < moments_.size(); ++i) {
    const ParameterGroup& group = parameters_.groups()[i];
    const kernels::AdamWBuffers buffers{group.flat_master, moments_[i].exp_avg,
                                        moments_[i].exp_avg_sq, group.flat_gradient,
                                        group.flat_value};
    if (group.flat_master.is_cpu()) {
      kernels::adamw_update(buffers, scalars);
    } else {
      adamw_update_plain(buffers, scalars);
    }
  }
}

NamedTensors AdamW::state_dict() const {
  NamedTensors state;
  for (size_t i = 0; i < moments_.size(); ++i) {
    for (const Parameter& parameter : parameters_.groups()[i].parameters) {
      const auto view = [&](const at::Tensor& flat) {
        return flat.narrow(0, parameter.offset, parameter.value.numel())
            .view(parameter.value.sizes());
      };
      state.emplace_back(parameter.name + ".exp_avg", view(moments_[i].exp_avg));
      state.emplace_back(parameter.name + ".exp_avg_sq", view(moments_[i].exp_avg_sq));
    }
  }
  state.emplace_back("step", at::scalar_tensor(num_steps_, at::kLong));
  return state;
}

void AdamW::load_state_dict(const NamedTensors& state) {
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> wanted;
  for (const auto& [name, tensor] : state_dict()) wanted.emplace(name, tensor);
  std::vector<std::string> faults;
  for (const auto& [name, tensor] : state) {
    const auto found = wanted.find(name);
    if (found == wanted.end()) {
      faults.push_back(fmt::format("'{}' is unexpected", name));
    } else if (found->second.sizes() != tensor.sizes()) {
      faults.push_back(fmt::format("'{}' must have shape {}, but has {}", name,
                                   format_shape(found->second.sizes()),
                                   format_shape(tensor.sizes())));
    }
  }
  for (const auto& [name, tensor] : wanted) {
    const auto given = std::find_if(state.begin(), state.end(), [&name = name](const auto& entry) {
      return entry.first == name;
    });
    if (given == state.end()) faults.push_back(fmt::format("'{}' is missing", name));
  }
  if (!faults.empty()) fail<CheckpointError>("AdamW state: {}", fmt::join(faults, "; "));
  for (const auto& [name, tensor] : state) {
    if (name == "step") {
      num_steps_ = tensor.item<int64_t>();
    } else {
      wanted.at(name).copy_(tensor);
    }
  }
}

}  // namespace zoetrope
