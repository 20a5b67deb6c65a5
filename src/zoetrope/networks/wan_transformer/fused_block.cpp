#include "zoetrope/networks/wan_transformer/fused_block.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "zoetrope/networks/wan_transformer/fused_block_passes.h"

namespace zoetrope {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SavedBlock : torch::CustomClassHolder {
  const FusedBlock* block = nullptr;
  BlockContext context;
  at::Tensor hidden;
  std::optional<BlockActivations> activations;  ///< none: computed again
};

/// Leaves autograd out of a node's operations, but for a block whose action module needs it.
struct BelowAutograd {
  explicit BelowAutograd(const BlockContext& context) {
    if (!context.actions) guard.emplace();
  }
  std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
};

struct FusedBlockNode : torch::autograd::Function<FusedBlockNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor& text,
                            const std::optional<at::Tensor>& image, const at::Tensor& modulation,
                            const c10::intrusive_ptr<SavedBlock>& saved) {
    const BelowAutograd below_autograd(saved->context);
    BlockActivations activations;
    activations.differentiable = saved->activations.has_value();
    at::Tensor output = fused_block_forward(*saved->block, hidden, saved->context, activations);
    if (saved->activations) {
      *saved->activations = std::move(activations);
      saved->context.streaming = nullptr;  // its frames are among the activations
    }
    ctx->saved_data["block"] = c10::IValue::make_capsule(saved);
    return output;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto found = ctx->saved_data.find("block");
    TORCH_CHECK(found != ctx->saved_data.end(),
                "fused_block: the graph can be traversed backward only once");
    const auto saved = c10::static_intrusive_pointer_cast<SavedBlock>(found->second.toCapsule());
    ctx->saved_data.clear();  // activations are freed node by node, not when the whole graph is
    const auto group = static_cast<size_t>(saved->block->parameters.index);
    ParameterResidency& residency = *saved->context.residency;
    residency.begin_backward(group, group > 0 ? std::optional(group - 1) : std::nullopt);
    const BelowAutograd below_autograd(saved->context);
    BlockActivations activations;
    if (saved->activations) {
      activations = std::move(*saved->activations);
    } else {
      activations.differentiable = true;
      fused_block_forward(*saved->block, saved->hidden, saved->context, activations);
    }
    const BlockGradients result = fused_block_backward(*saved->block, saved->hidden, saved->context,
                                                       activations, gradients[0].contiguous());
    residency.end_backward(group);
    return {result.hidden, result.text, result.image, result.modulation, at::Tensor()};
  }
};

std::vector<LinearParameters> image_layers(const BlockParameters& parameters) {
  return {parameters.image_k, parameters.image_v};
}

}  // namespace

bool fused_block_supported(const WanTransformerConfig& config,
                           const ParameterStore::Options& options) {
  const auto element =
      options.compute_dtype == at::kBFloat16 ? kernels::Element::kBf16 : kernels::Element::kFp32;
  const bool known_type =
      options.compute_dtype == at::kBFloat16 || options.compute_dtype == at::kFloat;
  return options.device.is_cpu() && known_type && config.cross_attn_norm &&
         config.has_plain_cross_attention() && kernels::has_packed_matmul(element);
}

FusedBlock::FusedBlock(const BlockParameters& block_parameters,
                       const WanTransformerConfig& network_config, ParameterGroup& block_group)
    : parameters(block_parameters),
      config(network_config),
      group(block_group),
      self_qkv({block_parameters.self_q, block_parameters.self_k, block_parameters.self_v}),
      self_out({block_parameters.self_out}),
      cross_q({block_parameters.cross_q}),
      cross_kv({block_parameters.cross_k, block_parameters.cross_v}),
      cross_out({block_parameters.cross_out}),
      feed_forward_in({block_parameters.feed_forward_in}),
      feed_forward_out({block_parameters.feed_forward_out}) {
  if (network_config.has_image_branch()) image_kv = FusedLinear(image_layers(block_parameters));
}

at::Tensor fused_block(const FusedBlock& block, const at::Tensor& hidden_BND,
                       const BlockContext& context, bool recompute) {
  if (!at::GradMode::is_enabled()) {
    BlockActivations activations;
    return fused_block_forward(block, hidden_BND.contiguous(), context, activations);
  }
  auto saved = c10::make_intrusive<SavedBlock>();
  saved->block = &block;
  saved->hidden = hidden_BND.detach().contiguous();
  saved->context = {
      context.text_BLD.detach().contiguous(),
      context.last_text_count,
      context.image_BLD.defined() ? context.image_BLD.detach().contiguous() : at::Tensor(),
      context.modulation_BM6D.detach(),
      context.rotary,
      context.regions,
      context.streaming,
      /*text_key_values=*/nullptr,
      context.actions,
      context.residency,
      context.sequence};
  context.residency->expect_backward(static_cast<size_t>(block.parameters.index));
  if (!recompute) saved->activations.emplace();
  const auto image = context.image_BLD.defined() ? std::optional(context.image_BLD) : std::nullopt;
  return FusedBlockNode::apply(hidden_BND, context.text_BLD, image, context.modulation_BM6D, saved);
}

}  // namespace zoetrope
