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

/// The unconditional conditioning of `batch`: the conditional one with its parts replaced. Throws
/// Error when it needs the negative prompt and the batch has none, ConfigError when a part is to be
/// zero that the batch does not have.
Conditioning unconditional_conditioning(const UnconditionalPolicyConfig& policy,
                                        const TrainingBatch& batch);

}  // namespace zoetrope
