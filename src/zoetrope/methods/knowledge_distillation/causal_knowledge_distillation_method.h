// Knowledge distillation of a causal student: each block of frames stands at a step of its own.
// Source: Yin et al. 2024 (CausVid, arXiv 2412.07772, section 4.3), whose code, as that of
// Self-Forcing, also draws finished blocks; FastVideo methods/knowledge_distillation/kd.py, which
// does not.
#pragma once

#include "zoetrope/config/run_facts.h"
#include "zoetrope/methods/knowledge_distillation/knowledge_distillation_method.h"

namespace zoetrope {

struct CausalKnowledgeDistillationConfig : KnowledgeDistillationConfig {
  int64_t num_frames_per_block = 3;
  bool draw_finished_blocks = false;
  static void describe(config::Schema<CausalKnowledgeDistillationConfig>& schema);

  /// Adds an issue when the student's config states blocks of another size.
  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
};

class CausalKnowledgeDistillationMethod : public KnowledgeDistillationMethod {
 public:
  /// Throws ConfigError as KnowledgeDistillationMethod does, and when the student is not causal or
  /// its blocks are of another size.
  CausalKnowledgeDistillationMethod(const CausalKnowledgeDistillationConfig& config,
                                    MethodContext context);

 protected:
  at::Tensor draw_steps(const Batch& raw, int64_t num_frames) override;
  std::string step_metric() const override { return "kd_mean_step_idx"; }

 private:
  at::Tensor draw_finished(const Batch& raw, int64_t num_blocks) const;

  int64_t num_frames_per_block_;
  bool draw_finished_blocks_;
};

}  // namespace zoetrope
