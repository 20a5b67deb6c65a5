// Learning rate over a role's own updates. A pure function of the update's index; nothing to save
// or resume. Source: FastVideo train/utils/lr schedulers (diffusers' optimization.py), behaviour
// per docs/config reference.
#pragma once

#include "zoetrope/optim/optimizer_config.h"

namespace zoetrope {

class LearningRateSchedule {
 public:
  /// Decay ends at `max_train_steps` updates. Throws ConfigError for an unknown name, and for
  /// `polynomial` when the rate is not above its end, 1e-7.
  LearningRateSchedule(OptimizerConfig config, int64_t max_train_steps);

  /// The rate of the update with this index; the first is 0 (so a warm-up starts at rate 0).
  double learning_rate(int64_t update) const;

 private:
  double factor(int64_t update) const;
  double factor_after_warmup(double step) const;

  OptimizerConfig config_;
  double max_steps_;
  double warmup_steps_;
};

}  // namespace zoetrope
