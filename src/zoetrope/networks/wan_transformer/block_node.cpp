#include "zoetrope/networks/wan_transformer/block_node.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace zoetrope {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The block's own graph, from detached inputs to its output.
struct InnerGraph {
  variable_list leaves;  ///< hidden, text, image, modulation
  at::Tensor output;
};

/// What the backward pass needs beside the inputs.
struct SavedBlock : torch::CustomClassHolder {
  const BlockParameters* block = nullptr;
  const WanTransformerConfig* config = nullptr;
  BlockContext context;             ///< without the tensors that have gradients
  std::optional<InnerGraph> graph;  ///< none: computed again

  InnerGraph run(const variable_list& inputs, bool differentiable) const {
    const at::AutoGradMode grad_mode(differentiable);
    InnerGraph made;
    for (const at::Tensor& input : inputs) {
      made.leaves.push_back(input.defined() ? input.detach().set_requires_grad(
                                                  differentiable && input.requires_grad())
                                            : at::Tensor());
    }
    BlockContext full = context;
    full.text_BLD = made.leaves[1];
    full.image_BLD = made.leaves[2];
    full.modulation_BM6D = made.leaves[3];
    made.output = transformer_block(*block, *config, made.leaves[0], full);
    return made;
  }
};

struct BlockNode : torch::autograd::Function<BlockNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const std::optional<at::Tensor>& text,
                            const std::optional<at::Tensor>& image, const at::Tensor& modulation,
                            const c10::intrusive_ptr<SavedBlock>& saved) {
    const variable_list inputs = {hidden, text.value_or(at::Tensor()), image.value_or(at::Tensor()),
                                  modulation};
    ctx->saved_data["block"] = c10::IValue::make_capsule(saved);
    const bool keep = saved->graph.has_value();
    InnerGraph graph = saved->run(inputs, keep);
    at::Tensor output = graph.output.detach();
    if (keep) {
      saved->graph = std::move(graph);
    } else {
      ctx->save_for_backward(inputs);
    }
    return output;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto found = ctx->saved_data.find("block");
    TORCH_CHECK(found != ctx->saved_data.end(),
                "block_node: the graph can be traversed backward only once");
    const auto saved = c10::static_intrusive_pointer_cast<SavedBlock>(found->second.toCapsule());
    const variable_list inputs = ctx->get_saved_variables();
    ctx->saved_data.clear();  // the inner graph is freed node by node
    const auto group = static_cast<size_t>(saved->block->index);
    ParameterResidency& residency = *saved->context.residency;
    residency.begin_backward(group, group > 0 ? std::optional(group - 1) : std::nullopt);
    const InnerGraph graph =
        saved->graph ? std::move(*saved->graph) : saved->run(inputs, /*differentiable=*/true);
    if (graph.output.requires_grad()) torch::autograd::backward({graph.output}, {gradients[0]});
    residency.end_backward(group);
    variable_list result;
    for (const at::Tensor& leaf : graph.leaves)
      result.push_back(leaf.defined() ? leaf.grad() : at::Tensor());
    result.resize(5);
    return result;
  }
};

std::optional<at::Tensor> if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

}  // namespace

at::Tensor block_node(const BlockParameters& block, const WanTransformerConfig& config,
                      const at::Tensor& hidden_BND, const BlockContext& context, bool recompute) {
  auto saved = c10::make_intrusive<SavedBlock>();
  saved->block = &block;
  saved->config = &config;
  saved->context = context;
  saved->context.text_BLD = saved->context.image_BLD = saved->context.modulation_BM6D =
      at::Tensor();
  if (!recompute) saved->graph.emplace();
  context.residency->expect_backward(static_cast<size_t>(block.index));
  return BlockNode::apply(hidden_BND, if_defined(context.text_BLD), if_defined(context.image_BLD),
                          context.modulation_BM6D, saved);
}

}  // namespace zoetrope
