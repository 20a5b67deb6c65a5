// Supervised fine-tuning: flow matching between data and noise, one timestep per sample.
// Source: Lipman et al. 2023 (flow matching), equation 23 with the linear path; FastVideo
// fine_tuning/finetune.py.
#pragma once

#include "zoetrope/config/network_passes.h"
#include "zoetrope/config/run_facts.h"
#include "zoetrope/config/schema.h"
#include "zoetrope/methods/method.h"

namespace zoetrope {

/// SFT has no options of its own: the density of timesteps is training.model.weighting_scheme.
struct FineTuneConfig {
  static void describe(config::Schema<FineTuneConfig>& schema);

  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
};

class FineTuneMethod : public TrainingMethod {
 public:
  /// Throws ConfigError when the student is frozen or the learning rate is not positive.
  FineTuneMethod(const FineTuneConfig& config, MethodContext context);

  static config::MethodWork work(const FineTuneConfig& config, int64_t num_latent_frames);

  StepOutput single_train_step(const Batch& raw, const StepIndex& index) override;
  std::vector<RoleOptimizer*> optimizers(int64_t step) override;
  std::vector<RoleOptimizer*> role_optimizers() override { return {&optimizer_}; }

 private:
  RoleOptimizer optimizer_;
};

}  // namespace zoetrope
