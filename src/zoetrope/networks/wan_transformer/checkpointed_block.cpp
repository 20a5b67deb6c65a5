#include "zoetrope/networks/wan_transformer/checkpointed_block.h"

#include <ATen/ATen.h>
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

struct CheckpointedBlock : torch::autograd::Function<CheckpointedBlock> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor& text,
                            const std::optional<at::Tensor>& image, const at::Tensor& modulation,
                            const BlockParameters* block, const WanTransformerConfig* config,
                            const RotaryTables* rotary) {
    ctx->save_for_backward(
        {hidden, text, image.value_or(at::Tensor()), modulation, rotary->cos, rotary->sin});
    ctx->saved_data["block"] = reinterpret_cast<int64_t>(block);
    ctx->saved_data["config"] = reinterpret_cast<int64_t>(config);
    BlockContext context{text, 1, image.value_or(at::Tensor()), modulation, *rotary};
    return transformer_block(*block, *config, hidden, context);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const auto* block = reinterpret_cast<const BlockParameters*>(ctx->saved_data["block"].toInt());
    const auto* config =
        reinterpret_cast<const WanTransformerConfig*>(ctx->saved_data["config"].toInt());
    variable_list leaves;
    for (size_t i = 0; i < 4; ++i) leaves.push_back(leaf_of(saved[i]));
    at::Tensor output;
    {
      at::AutoGradMode enable(true);
      output = transformer_block(*block, *config, leaves[0],
                                 {leaves[1], 1, leaves[2], leaves[3], {saved[4], saved[5]}});
    }
    if (output.requires_grad()) torch::autograd::backward({output}, {gradients[0]});
    variable_list result;
    for (const at::Tensor& leaf : leaves)
      result.push_back(leaf.defined() ? leaf.grad() : at::Tensor());
    result.resize(7);
    return result;
  }
};

}  // namespace

at::Tensor checkpointed_block(const BlockParameters& block, const WanTransformerConfig& config,
                              const at::Tensor& hidden_BND, const BlockContext& context) {
  const auto image = context.image_BLD.defined() ? std::optional(context.image_BLD) : std::nullopt;
  return CheckpointedBlock::apply(hidden_BND, context.text_BLD, image, context.modulation_BM6D,
                                  &block, &config, &context.rotary);
}

}  // namespace zoetrope
