#include "zoetrope/methods/knowledge_distillation/causal_knowledge_distillation_method.h"

#include <ATen/ATen.h>

#include "zoetrope/methods/requirements.h"

namespace zoetrope {

void CausalKnowledgeDistillationConfig::describe(
    config::Schema<CausalKnowledgeDistillationConfig>& schema) {
  schema.inherit<KnowledgeDistillationConfig>();
  schema.field("num_frames_per_block", &CausalKnowledgeDistillationConfig::num_frames_per_block,
               "Latent frames that share a step; that of the student's blocks.",
               config::at_least(1));
}

CausalKnowledgeDistillationMethod::CausalKnowledgeDistillationMethod(
    const CausalKnowledgeDistillationConfig& config, MethodContext method_context)
    : KnowledgeDistillationMethod(config, std::move(method_context)),
      num_frames_per_block_(config.num_frames_per_block) {
  require_causal(student(), "student", "causal knowledge distillation");
  require_block_size(student(), num_frames_per_block_, "method.num_frames_per_block");
}

at::Tensor CausalKnowledgeDistillationMethod::draw_steps(const Batch& raw, int64_t num_frames) {
  const int64_t num_blocks = (num_frames + num_frames_per_block_ - 1) / num_frames_per_block_;
  return context()
      .random
      ->integers({"knowledge_distillation.step", raw.sample_indices}, 0, num_student_steps(),
                 {raw.batch_size(), num_blocks})
      .repeat_interleave(num_frames_per_block_, 1)
      .narrow(1, 0, num_frames);
}

}  // namespace zoetrope
