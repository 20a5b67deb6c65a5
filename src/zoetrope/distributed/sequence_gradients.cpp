#include "zoetrope/distributed/sequence_gradients.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace zoetrope {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using TensorMap = std::function<variable_list(at::TensorList)>;

/// A linear map whose gradient is the map `adjoint`.
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

variable_list apply(at::TensorList inputs, TensorMap map, TensorMap adjoint) {
  auto linear = c10::make_intrusive<LinearMap>();
  linear->map = std::move(map);
  linear->adjoint = std::move(adjoint);
  return LinearMapNode::apply(inputs, linear);
}

variable_list gathered_heads(const SequenceShard& shard, at::TensorList x_BNw) {
  variable_list own;
  for (const at::Tensor& x : x_BNw) {
    own.push_back(
        at::empty({x.size(0), shard.num_own(), shard.num_ranks() * x.size(2)}, x.options()));
  }
  shard.gather_heads(x_BNw, own);
  return own;
}

}  // namespace

at::Tensor split_tokens(const SequenceShard& shard, const at::Tensor& x_BNE) {
  if (shard.is_whole()) return x_BNE;
  return apply(
      x_BNE, [shard](at::TensorList x) { return variable_list{shard.own_tokens(x[0])}; },
      [shard](at::TensorList d) { return variable_list{shard.all_tokens(d[0])}; })[0];
}

at::Tensor gather_tokens(const SequenceShard& shard, const at::Tensor& x_BnE,
                         GatheredGradient gradient) {
  if (shard.is_whole()) return x_BnE;
  const bool same = gradient == GatheredGradient::kSame;
  return apply(
      x_BnE, [shard](at::TensorList x) { return variable_list{shard.all_tokens(x[0])}; },
      [shard, same](at::TensorList d) {
        return variable_list{same ? shard.own_tokens(d[0]) : shard.sum_own_tokens(d[0])};
      })[0];
}

std::vector<at::Tensor> scatter_heads(const SequenceShard& shard, at::TensorList x_BnD) {
  if (shard.is_whole()) return x_BnD.vec();
  return apply(
      x_BnD, [shard](at::TensorList x) { return shard.scatter_heads(x); },
      [shard](at::TensorList d) { return gathered_heads(shard, d); });
}

at::Tensor gather_heads(const SequenceShard& shard, const at::Tensor& x_BNw) {
  if (shard.is_whole()) return x_BNw;
  return apply(
      x_BNw, [shard](at::TensorList x) { return gathered_heads(shard, x); },
      [shard](at::TensorList d) { return shard.scatter_heads(d); })[0];
}

}  // namespace zoetrope
