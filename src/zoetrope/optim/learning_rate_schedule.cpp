#include "zoetrope/optim/learning_rate_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr double kPolynomialEnd = 1e-7;

double half_cosine(double progress) {
  return 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

}  // namespace

LearningRateSchedule::LearningRateSchedule(OptimizerConfig config, int64_t max_train_steps)
    : config_(std::move(config)),
      max_steps_(static_cast<double>(max_train_steps)),
      warmup_steps_(static_cast<double>(config_.lr_warmup_steps)) {
  if (config_.lr_scheduler == "polynomial" && config_.learning_rate <= kPolynomialEnd) {
    fail<ConfigError>("learning_rate: must be greater than {} for 'polynomial', but is {}",
                      kPolynomialEnd, config_.learning_rate);
  }
  factor_after_warmup(warmup_steps_);  // refuses an unknown name
}

double LearningRateSchedule::learning_rate(int64_t update) const {
  return config_.learning_rate * factor(update);
}

double LearningRateSchedule::factor(int64_t update) const {
  const auto step = static_cast<double>(update);
  if (config_.lr_scheduler == "constant") return 1.0;
  if (step < warmup_steps_) return step / std::max(1.0, warmup_steps_);
  return factor_after_warmup(step);
}

double LearningRateSchedule::factor_after_warmup(double step) const {
  const std::string& name = config_.lr_scheduler;
  const double decay_steps = std::max(1.0, max_steps_ - warmup_steps_);
  const double progress = (step - warmup_steps_) / decay_steps;
  if (name == "constant" || name == "constant_with_warmup") return 1.0;
  if (name == "linear") return std::max(0.0, (max_steps_ - step) / decay_steps);
  if (name == "cosine") return std::max(0.0, half_cosine(progress));
  if (name == "cosine_with_min_lr") return std::max(config_.min_lr_ratio, half_cosine(progress));
  if (name == "cosine_with_restarts") {
    const auto num_cycles = static_cast<double>(config_.lr_num_cycles);
    return progress >= 1.0 ? 0.0 : half_cosine(std::fmod(num_cycles * progress, 1.0));
  }
  if (name != "polynomial")
    fail<ConfigError>("lr_scheduler: must be a known schedule, but is '{}'", name);
  const double peak = config_.learning_rate;
  if (step > max_steps_) return kPolynomialEnd / peak;
  const double remaining = std::pow(1.0 - progress, config_.lr_power);
  return ((peak - kPolynomialEnd) * remaining + kPolynomialEnd) / peak;
}

}  // namespace zoetrope
