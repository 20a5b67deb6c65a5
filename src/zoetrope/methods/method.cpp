#include "zoetrope/methods/method.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

void RoleModels::add(std::string role, std::unique_ptr<ModelBase> model) {
  models_.emplace_back(std::move(role), std::move(model));
}

void RoleModels::remove(const std::string& role) {
  std::erase_if(models_, [&](const auto& entry) { return entry.first == role; });
}

bool RoleModels::contains(const std::string& role) const {
  for (const auto& [name, model] : models_) {
    if (name == role) return true;
  }
  return false;
}

ModelBase& RoleModels::require(const std::string& role, bool trainable,
                               const std::string& method) const {
  for (const auto& [name, model] : models_) {
    if (name != role) continue;
    if (model->trainable() != trainable) {
      fail<ConfigError>("models.{}: {} needs it {}, but trainable is {}", role, method,
                        trainable ? "trainable" : "frozen", model->trainable());
    }
    return *model;
  }
  fail<ConfigError>("models: {} needs the role '{}', but the config has none; add models.{}",
                    method, role, role);
}

RoleOptimizer::RoleOptimizer(std::string role, ModelBase& model, const OptimizerConfig& config,
                             int64_t max_train_steps)
    : role_(std::move(role)),
      model_(model),
      adamw_(model.parameters(),
             AdamWOptions{config.betas.first, config.betas.second, config.weight_decay}),
      config_(config),
      schedule_(config, max_train_steps) {}

void RoleOptimizer::step(double gradient_scale) {
  adamw_.step(learning_rate(), gradient_scale);
}

TrainingMethod::TrainingMethod(MethodContext context)
    : context_(std::move(context)),
      student_(&context_.roles.require("student", true, "training")) {}

void TrainingMethod::backward(const StepOutput& output, int64_t num_accumulation_rounds) {
  for (const auto& [model, objective] : output.objectives)
    model->backward(objective, num_accumulation_rounds);
}

}  // namespace zoetrope
