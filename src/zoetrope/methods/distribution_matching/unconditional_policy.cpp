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
             fmt::format("must be keep, since the model has no such condition, but got {}; or set "
                         "on_missing: ignore",
                         value));
    }
  });
}

bool needs_negative_prompt(const UnconditionalPolicyConfig& policy) {
  return policy.text == "negative_prompt";
}

Conditioning unconditional_conditioning(const UnconditionalPolicyConfig& policy,
                                        const TrainingBatch& batch) {
  if (policy.text == "keep") return batch.conditional;
  if (policy.text == "zero") {
    return {at::zeros_like(batch.conditional.text_embedding_BLD),
            at::zeros_like(batch.conditional.text_attention_mask_BL)};
  }
  if (!batch.unconditional.text_embedding_BLD.defined())
    fail("guidance: the batch must have the negative prompt's embedding, but it was not encoded");
  return batch.unconditional;
}

}  // namespace zoetrope
