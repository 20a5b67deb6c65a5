#include "zoetrope/callbacks/grad_clip.h"

#include <fmt/format.h>

#include "zoetrope/optim/gradient_norm.h"

namespace zoetrope {

void GradNormClipConfig::describe(config::Schema<GradNormClipConfig>& schema) {
  schema.field("max_grad_norm", &GradNormClipConfig::max_grad_norm,
               "Largest global L2 norm of a role's gradients; larger ones are scaled down to it. 0 "
               "or less: no clipping.");
  schema.field("log_grad_norms", &GradNormClipConfig::log_grad_norms,
               "Log `grad_norm/<role>` before clipping.");
  schema.field("log_module_grad_norms", &GradNormClipConfig::log_module_grad_norms,
               "Also log `grad_norm/<role>/<module>` for every transformer block.");
}

GradNormClipCallback::GradNormClipCallback(const GradNormClipConfig& config,
                                           const CallbackContext& /*context*/)
    : config_(config) {}

void GradNormClipCallback::on_before_optimizer_step(RunState& run,
                                                    std::vector<OptimizerUpdate>& updates) {
  std::vector<Metric> metrics;
  for (OptimizerUpdate& update : updates) {
    const std::string name = "grad_norm/" + update.optimizer->role();
    if (config_.log_grad_norms) metrics.push_back({name, update.gradient_norm});
    if (config_.log_module_grad_norms) {
      for (const auto& [module, norm] :
           module_gradient_norms(update.optimizer->model().parameters())) {
        metrics.push_back({fmt::format("{}/{}", name, module), norm});
      }
    }
    if (config_.max_grad_norm > 0.0) {
      update.gradient_scale *= clip_coefficient(update.gradient_norm, config_.max_grad_norm);
    }
  }
  if (!metrics.empty()) run.tracker.log(run.step, metrics);
}

}  // namespace zoetrope
