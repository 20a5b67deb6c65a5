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
  return row_split_linear(parameters, x, nullptr);
}

at::Tensor row_split_linear(const LinearParameters& parameters, const at::Tensor& x,
                            const GroupPointer& group) {
  const at::Tensor bias = parameters.bias != nullptr ? parameters.bias->value : at::Tensor();
  at::Tensor out = at::linear(x, parameters.weight->value, bias);
  if (!parameters.low_rank) return out;
  const auto& [a, b, scale] = *parameters.low_rank;
  // A is whole, but its gradient here comes from this rank's features alone.
  const at::Tensor projected = at::linear(x, enter_split_layers(group, a->value));
  return at::add(out, at::linear(projected, b->value), scale);
}

at::Tensor column_split_linear(const LinearParameters& parameters, const at::Tensor& x,
                               const GroupPointer& group) {
  if (num_ranks(group) == 1) return linear(parameters, x);
  at::Tensor out = at::linear(x, parameters.weight->value);
  if (parameters.low_rank) {
    const auto& [a, b, scale] = *parameters.low_rank;
    // B is whole, but its gradient here comes from this rank's part of x A^T alone.
    const at::Tensor whole_b = enter_split_layers(group, b->value);
    out = at::add(out, at::linear(at::linear(x, a->value), whole_b), scale);
  }
  return leave_split_layers(group, out) + parameters.bias->value;
}

}  // namespace zoetrope
