#include "zoetrope/tensor/state_dict.h"

#include <ATen/ATen.h>

namespace zoetrope {

void StateDict::add(const std::string& prefix, const StateDict& part) {
  for (const auto& [name, tensor] : part.tensors) tensors.emplace_back(prefix + name, tensor);
  for (const auto& [name, value] : part.scalars) scalars.emplace_back(prefix + name, value);
}

StateDict StateDict::part(const std::string& prefix) const {
  StateDict found;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) found.tensors.emplace_back(name.substr(prefix.size()), tensor);
  }
  for (const auto& [name, value] : scalars) {
    if (name.starts_with(prefix)) found.scalars.emplace_back(name.substr(prefix.size()), value);
  }
  return found;
}

at::Tensor StateDict::find_tensor(const std::string& name) const {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  return {};
}

at::Tensor StateDict::tensor(const std::string& name) const {
  at::Tensor found = find_tensor(name);
  if (!found.defined())
    fail<CheckpointError>("state: must have the tensor '{}', but it is missing", name);
  return found;
}

at::Tensor copy_for_checkpoint(const at::Tensor& live) {
  return live.detach().to(live.options().device(at::kCPU), /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace zoetrope
