#include "zoetrope/networks/wan_transformer/checkpointed_block.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace zoetrope {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Detached inputs of one block as leaves of a graph of its own.
at::Tensor leaf_of(const at::Tensor& saved) {
  if (!saved.defined()) return {};
  return saved.detach().set_requires_grad(saved.requires_grad());
}

/// What recomputation needs beside tensors.
struct SavedContext : torch::CustomClassHolder {
  const BlockParameters* block = nullptr;
  const WanTransformerConfig* config = nullptr;
  BlockContext context;  ///< without the tensors that have gradients
};

struct CheckpointedBlock : torch::autograd::Function<CheckpointedBlock> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const std::optional<at::Tensor>& given_text,
                            const std::optional<at::Tensor>& given_image,
                            const at::Tensor& modulation,
                            const c10::intrusive_ptr<SavedContext>& saved) {
    const at::Tensor text = given_text.value_or(at::Tensor());
    const at::Tensor image = given_image.value_or(at::Tensor());
    ctx->save_for_backward({hidden, text, image, modulation});
    ctx->saved_data["context"] = c10::IValue::make_capsule(saved);
    return transformer_block(*saved->block, *saved->config, hidden,
                             with_tensors(saved->context, text, image, modulation));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const auto kept =
        c10::static_intrusive_pointer_cast<SavedContext>(ctx->saved_data.at("context").toCapsule());
    variable_list leaves;
    for (const at::Tensor& tensor : saved) leaves.push_back(leaf_of(tensor));
    at::Tensor output;
    {
      at::AutoGradMode enable(true);
      output = transformer_block(*kept->block, *kept->config, leaves[0],
                                 with_tensors(kept->context, leaves[1], leaves[2], leaves[3]));
    }
    if (output.requires_grad()) torch::autograd::backward({output}, {gradients[0]});
    variable_list result;
    for (const at::Tensor& leaf : leaves)
      result.push_back(leaf.defined() ? leaf.grad() : at::Tensor());
    result.resize(5);
    return result;
  }

  static BlockContext with_tensors(BlockContext context, const at::Tensor& text,
                                   const at::Tensor& image, const at::Tensor& modulation) {
    context.text_BLD = text;
    context.image_BLD = image;
    context.modulation_BM6D = modulation;
    return context;
  }
};

std::optional<at::Tensor> if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

}  // namespace

at::Tensor checkpointed_block(const BlockParameters& block, const WanTransformerConfig& config,
                              const at::Tensor& hidden_BND, const BlockContext& context) {
  auto saved = c10::make_intrusive<SavedContext>();
  saved->block = &block;
  saved->config = &config;
  saved->context.rotary = context.rotary;
  saved->context.regions = context.regions;
  saved->context.streaming = context.streaming;
  saved->context.actions = context.actions;
  return CheckpointedBlock::apply(hidden_BND, if_defined(context.text_BLD),
                                  if_defined(context.image_BLD), context.modulation_BM6D, saved);
}

}  // namespace zoetrope
