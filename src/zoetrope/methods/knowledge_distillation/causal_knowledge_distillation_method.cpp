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
  schema.field("draw_finished_blocks", &CausalKnowledgeDistillationConfig::draw_finished_blocks,
               "A block may also stand at t_list's last entry, 0, as the blocks before the current "
               "one do in streaming; it does not count in the loss. CausVid and Self-Forcing train "
               "so, FastVideo does not.");
}

void CausalKnowledgeDistillationConfig::check_run(const config::Node& node,
                                                  const config::RunFacts& run,
                                                  const config::ReadContext& context) const {
  check_block_size("num_frames_per_block", num_frames_per_block, run, node, context);
}

CausalKnowledgeDistillationMethod::CausalKnowledgeDistillationMethod(
    const CausalKnowledgeDistillationConfig& config, MethodContext method_context)
    : KnowledgeDistillationMethod(config, std::move(method_context)),
      num_frames_per_block_(config.num_frames_per_block),
      draw_finished_blocks_(config.draw_finished_blocks) {
  require_causal(student(), "student", "causal knowledge distillation");
  require_block_size(student(), num_frames_per_block_, "method.num_frames_per_block");
}

at::Tensor CausalKnowledgeDistillationMethod::draw_steps(const Batch& raw, int64_t num_frames) {
  const int64_t num_blocks = (num_frames + num_frames_per_block_ - 1) / num_frames_per_block_;
  at::Tensor steps =
      context().random->integers({"knowledge_distillation.step", raw.sample_indices}, 0,
                                 num_student_steps(), {raw.batch_size(), num_blocks});
  if (draw_finished_blocks_)
    steps = steps.masked_fill(draw_finished(raw, num_blocks), num_student_steps());
  return steps.repeat_interleave(num_frames_per_block_, 1).narrow(1, 0, num_frames);
}

// As often as at any other step; never the last block, which no other one sees.
at::Tensor CausalKnowledgeDistillationMethod::draw_finished(const Batch& raw,
                                                            int64_t num_blocks) const {
  at::Tensor finished =
      context().random->integers({"knowledge_distillation.finished", raw.sample_indices}, 0,
                                 num_student_steps() + 1, {raw.batch_size(), num_blocks}) == 0;
  finished.select(1, num_blocks - 1).fill_(false);
  return finished;
}

}  // namespace zoetrope
