#include "zoetrope/methods/distribution_matching/unconditional_policy.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

void UnconditionalPolicyConfig::describe(config::Schema<UnconditionalPolicyConfig>& schema) {
  using config::one_of;
  schema.field("on_missing", &UnconditionalPolicyConfig::on_missing,
               "What a channel that the model does not have means.", one_of({"error", "ignore"}));
  schema.field("text", &UnconditionalPolicyConfig::text,
               "Text of the unconditional score: the pipeline's negative prompt, the prompt itself "
               "or zeros.",
               one_of({"negative_prompt", "keep", "zero"}));
  schema.field("image", &UnconditionalPolicyConfig::image,
               "Image condition of the unconditional score.", one_of({"keep", "zero"}));
  schema.field("action", &UnconditionalPolicyConfig::action, "Actions of the unconditional score.",
               one_of({"keep", "zero"}));
  schema.check([](const UnconditionalPolicyConfig& policy, const config::Node& node,
                  const config::ReadContext& context) {
    if (policy.on_missing == "ignore") return;
    for (const auto& [channel, value] :
         {std::pair("image", policy.image), std::pair("action", policy.action)}) {
      if (value == "keep") continue;
      refuse(node, {context.issues, config::child_path(context.path, channel)},
             fmt::format("must be keep, since not every model has such a condition, but got {}; "
                         "on_missing: ignore applies it where there is one",
                         value));
    }
  });
}

bool needs_negative_prompt(const UnconditionalPolicyConfig& policy) {
  return policy.text == "negative_prompt";
}

bool has_unconditional(const UnconditionalPolicyConfig& policy, const Conditioning& conditional) {
  return (conditional.text_embedding_BLD.defined() && policy.text != "keep") ||
         (conditional.image_latents_BTCHW.defined() && policy.image != "keep") ||
         (conditional.keyboard_BFK.defined() && policy.action != "keep") ||
         (conditional.mouse_BF2.defined() && policy.action != "keep");
}

Conditioning unconditional_conditioning(const UnconditionalPolicyConfig& policy,
                                        const TrainingBatch& batch) {
  const auto set_zero = [](at::Tensor& condition) {
    if (condition.defined()) condition = at::zeros_like(condition);
  };
  Conditioning conditions = batch.conditional;
  if (policy.text == "zero") {
    set_zero(conditions.text_embedding_BLD);
    set_zero(conditions.text_attention_mask_BL);
  } else if (policy.text == "negative_prompt" && conditions.text_embedding_BLD.defined()) {
    if (!batch.unconditional.text_embedding_BLD.defined())
      fail("guidance: the batch must have the negative prompt's embedding, but it was not encoded");
    conditions.text_embedding_BLD = batch.unconditional.text_embedding_BLD;
    conditions.text_attention_mask_BL = batch.unconditional.text_attention_mask_BL;
  }
  if (policy.image == "zero") {
    set_zero(conditions.image_embedding_BLD);
    set_zero(conditions.image_latents_BTCHW);
  }
  if (policy.action == "zero") {
    set_zero(conditions.keyboard_BFK);
    set_zero(conditions.mouse_BF2);
  }
  return conditions;
}

}  // namespace zoetrope
