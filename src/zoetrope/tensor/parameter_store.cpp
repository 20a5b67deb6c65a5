#include "zoetrope/tensor/parameter_store.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr int64_t kAlignmentElements = 32;  // 64 bytes of bf16, 128 of fp32

int64_t num_elements_of(const TensorSpec& spec) {
  int64_t product = 1;
  for (int64_t size : spec.shape) product *= size;
  return product;
}

int64_t align(int64_t num_elements) {
  return (num_elements + kAlignmentElements - 1) / kAlignmentElements * kAlignmentElements;
}

}  // namespace

ParameterStore::ParameterStore(const std::vector<ParameterGroupSpec>& specs, Options options)
    : options_(options) {
  groups_.reserve(specs.size());
  for (const ParameterGroupSpec& spec : specs) allocate(spec);
}

void ParameterStore::allocate(const ParameterGroupSpec& spec) {
  ParameterGroup group;
  group.name = spec.name;
  for (const TensorSpec& parameter : spec.parameters)
    group.num_elements += align(num_elements_of(parameter));
  const auto options = at::TensorOptions().device(options_.device);
  const bool shared = options_.compute_dtype == at::kFloat;
  group.flat_value = at::zeros({group.num_elements}, options.dtype(options_.compute_dtype));
  if (shared) {
    group.flat_master = group.flat_value;
  } else if (options_.trainable) {
    group.flat_master = at::zeros({group.num_elements}, options.dtype(at::kFloat));
  }
  if (options_.trainable) group.flat_gradient = at::zeros_like(group.flat_value);
  int64_t offset = 0;
  for (const TensorSpec& parameter_spec : spec.parameters) {
    const int64_t num_elements = num_elements_of(parameter_spec);
    const auto view = [&](const at::Tensor& flat) {
      return flat.defined() ? flat.narrow(0, offset, num_elements).view(parameter_spec.shape)
                            : at::Tensor();
    };
    Parameter parameter{parameter_spec.name, offset, view(group.flat_master),
                        view(group.flat_value).detach(), view(group.flat_gradient)};
    if (options_.trainable) {
      parameter.value.set_requires_grad(true);
      parameter.value.mutable_grad() = parameter.gradient;
    }
    if (!index_.emplace(parameter.name, std::pair(groups_.size(), group.parameters.size()))
             .second) {
      fail("parameter '{}' must be declared once, but is declared twice", parameter.name);
    }
    group.parameters.push_back(std::move(parameter));
    offset += align(num_elements);
  }
  groups_.push_back(std::move(group));
}

const Parameter& ParameterStore::at(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail("parameter '{}' must be one of the network's, but is not", name);
  return groups_[found->second.first].parameters[found->second.second];
}

int64_t ParameterStore::num_parameters() const {
  int64_t total = 0;
  for (const TensorSpec& spec : specs()) total += num_elements_of(spec);
  return total;
}

std::vector<TensorSpec> ParameterStore::specs() const {
  std::vector<TensorSpec> specs;
  for (const ParameterGroup& group : groups_) {
    for (const Parameter& parameter : group.parameters)
      specs.push_back({parameter.name, parameter.value.sizes().vec()});
  }
  return specs;
}

void ParameterStore::load(const NamedTensors& tensors) {
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    const Parameter& parameter = at(name);
    if (parameter.value.sizes() != tensor.sizes()) {
      fail<CheckpointError>("parameter '{}' must have shape {}, but got {}", name,
                            format_shape(parameter.value.sizes()), format_shape(tensor.sizes()));
    }
    parameter.value.detach().copy_(tensor);
    if (parameter.master.defined() && !parameter.master.is_alias_of(parameter.value))
      parameter.master.copy_(tensor);
  }
}

NamedTensors ParameterStore::tensors() const {
  NamedTensors tensors;
  for (const ParameterGroup& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      tensors.emplace_back(
          parameter.name, parameter.master.defined() ? parameter.master : parameter.value.detach());
    }
  }
  return tensors;
}

void ParameterStore::refresh_values() {
  for (ParameterGroup& group : groups_) {
    if (group.flat_master.defined() && !group.flat_master.is_alias_of(group.flat_value)) {
      group.flat_value.copy_(group.flat_master);
    }
  }
}

void ParameterStore::zero_gradients() {
  for (ParameterGroup& group : groups_) {
    if (!group.flat_gradient.defined()) continue;
    group.flat_gradient.zero_();
    group.gradient_is_zero = true;
  }
}

}  // namespace zoetrope
