// Clipping by the global gradient norm, and its log. Source: Pascanu et al. 2013; FastVideo
// callbacks/grad_clip.py.
#pragma once

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/config/schema.h"

namespace zoetrope {

struct GradNormClipConfig {
  double max_grad_norm = 1.0;
  bool log_grad_norms = true;
  bool log_module_grad_norms = false;
  static void describe(config::Schema<GradNormClipConfig>& schema);
};

/// Scales the gradients of each stepping role by min(1, max_grad_norm / (norm + 1e-6)); the scaling
/// itself happens in the optimizer's pass. Logs `grad_norm/<role>`, and `grad_norm/<role>/<module>`
/// per block when asked to.
class GradNormClipCallback : public Callback {
 public:
  GradNormClipCallback(const GradNormClipConfig& config, const CallbackContext& context);
  void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) override;

 private:
  GradNormClipConfig config_;
};

}  // namespace zoetrope
