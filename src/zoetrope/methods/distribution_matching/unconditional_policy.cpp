#include "zoetrope/methods/distribution_matching/unconditional_policy.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

void make_zero(const UnconditionalPolicyConfig& policy, const char* channel,
               std::initializer_list<at::Tensor*> members) {
  bool any = false;
  for (at::Tensor* member : members) {
    if (!member->defined()) continue;
    *member = at::zeros_like(*member);
    any = true;
  }
  if (any || policy.on_missing == "ignore") return;
  fail<ConfigError>(
      "method.cfg_uncond.{}: must be keep, since the model has no such condition, but got zero; or "
      "set on_missing: ignore",
      channel);
}

}  // namespace

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
}

bool needs_negative_prompt(const UnconditionalPolicyConfig& policy) {
  return policy.text == "negative_prompt";
}

Conditioning unconditional_conditioning(const UnconditionalPolicyConfig& policy,
                                        const TrainingBatch& batch) {
  Conditioning unconditional = batch.conditional;
  const bool has_text = unconditional.text_embedding_BLD.defined();
  if (has_text && policy.text == "negative_prompt") {
    if (!batch.unconditional.text_embedding_BLD.defined())
      fail("guidance: the batch must have the negative prompt's embedding, but it was not encoded");
    unconditional.text_embedding_BLD = batch.unconditional.text_embedding_BLD;
    unconditional.text_attention_mask_BL = batch.unconditional.text_attention_mask_BL;
  }
  if (policy.text == "zero") {
    make_zero(policy, "text",
              {&unconditional.text_embedding_BLD, &unconditional.text_attention_mask_BL});
  }
  if (policy.image == "zero") {
    make_zero(policy, "image",
              {&unconditional.image_embedding_BLD, &unconditional.image_latents_BTCHW});
  }
  if (policy.action == "zero") {
    make_zero(policy, "action", {&unconditional.keyboard_BFK, &unconditional.mouse_BF2});
  }
  return unconditional;
}

}  // namespace zoetrope
