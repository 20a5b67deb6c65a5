// The config of distribution matching distillation, and what it must be. Source: FastVideo
// train/methods/distribution_matching/dmd2.py (keys and defaults).
#pragma once

#include "zoetrope/config/run_facts.h"
#include "zoetrope/methods/distribution_matching/unconditional_policy.h"
#include "zoetrope/optim/optimizer_config.h"

namespace zoetrope {

struct Dmd2Config {
  std::string rollout_mode;
  std::vector<int64_t> dmd_denoising_steps;
  bool warp_denoising_step = false;
  int64_t generator_update_interval = 1;
  double real_score_guidance_scale = 1.0;
  double min_timestep_ratio = 0.0;
  double max_timestep_ratio = 1.0;
  double fake_score_learning_rate = 0.0;
  AdamBetas fake_score_betas;
  std::string fake_score_lr_scheduler;
  UnconditionalPolicyConfig cfg_uncond;
  static void describe(config::Schema<Dmd2Config>& schema);

  /// Whether the student denoises from noise; otherwise from noised data.
  bool simulates() const { return rollout_mode.starts_with("sim"); }

  /// Adds an issue for what does not fit the rest of the run; `node` is the section that was read.
  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
};

}  // namespace zoetrope
