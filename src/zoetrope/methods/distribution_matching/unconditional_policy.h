// What the teacher's unconditional score is conditioned on, for classifier-free guidance in
// distribution matching. Source: FastVideo's `cfg_uncond` (methods/distribution_matching/dmd2.py,
// models/wan/wan.py).
#pragma once

#include "zoetrope/config/schema.h"
#include "zoetrope/models/training_batch.h"

namespace zoetrope {

/// `method.cfg_uncond`.
struct UnconditionalPolicyConfig {
  std::string on_missing = "error";
  std::string text = "negative_prompt";
  std::string image = "keep";
  std::string action = "keep";
  static void describe(config::Schema<UnconditionalPolicyConfig>& schema);
};

/// Whether the negative prompt has to be encoded.
bool needs_negative_prompt(const UnconditionalPolicyConfig& policy);

/// Whether the unconditional conditioning differs from `conditional`: without text and with all
/// else kept, guidance changes nothing.
bool has_unconditional(const UnconditionalPolicyConfig& policy, const Conditioning& conditional);

/// The unconditional conditioning of `batch`. Throws Error when it needs the negative prompt and
/// the batch has none.
Conditioning unconditional_conditioning(const UnconditionalPolicyConfig& policy,
                                        const TrainingBatch& batch);

}  // namespace zoetrope
