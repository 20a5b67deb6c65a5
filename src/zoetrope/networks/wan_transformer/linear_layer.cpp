#include "zoetrope/networks/wan_transformer/linear_layer.h"

#include <ATen/ATen.h>

namespace zoetrope {

LinearParameters linear_parameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                                   const std::string& name) {
  const std::string bias = name + ".bias";
  return {&parameters.at(name + ".weight"),
          parameters.contains(bias) ? &parameters.at(bias) : nullptr,
          adapters != nullptr ? adapters->find(name) : std::nullopt};
}

at::Tensor linear(const LinearParameters& parameters, const at::Tensor& x) {
  const at::Tensor bias = parameters.bias != nullptr ? parameters.bias->value : at::Tensor();
  at::Tensor out = at::linear(x, parameters.weight->value, bias);
  if (!parameters.low_rank) return out;
  const auto& [a, b, scale] = *parameters.low_rank;
  return at::add(out, at::linear(at::linear(x, a->value), b->value), scale);
}

}  // namespace zoetrope
