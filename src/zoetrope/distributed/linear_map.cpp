#include "zoetrope/distributed/linear_map.h"

#include <torch/csrc/autograd/custom_function.h>

namespace zoetrope {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearMap : torch::CustomClassHolder {
  TensorMap map;
  TensorMap adjoint;
};

struct LinearMapNode : torch::autograd::Function<LinearMapNode> {
  static variable_list forward(AutogradContext* ctx, at::TensorList inputs,
                               const c10::intrusive_ptr<LinearMap>& linear) {
    ctx->saved_data["map"] = c10::IValue::make_capsule(linear);
    return linear->map(inputs);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto linear =
        c10::static_intrusive_pointer_cast<LinearMap>(ctx->saved_data.at("map").toCapsule());
    variable_list result = linear->adjoint(gradients);
    result.emplace_back();
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> apply_linear_map(at::TensorList inputs, TensorMap map, TensorMap adjoint) {
  auto linear = c10::make_intrusive<LinearMap>();
  linear->map = std::move(map);
  linear->adjoint = std::move(adjoint);
  return LinearMapNode::apply(inputs, linear);
}

}  // namespace zoetrope
