#include "zoetrope/callbacks/ema.h"

namespace zoetrope {

void EmaConfig::describe(config::Schema<EmaConfig>& schema) {
  schema.field("decay", &EmaConfig::decay, "Share of the old average that each step keeps.",
               config::between(0.0, 1.0));
  schema.field("start_iter", &EmaConfig::start_iter,
               "First step that is averaged; the average starts as a copy of it.",
               config::at_least(0));
}

EmaCallback::EmaCallback(const EmaConfig& config, const CallbackContext& /*context*/)
    : config_(config) {}

void EmaCallback::on_training_step_end(RunState& run) {
  if (run.step < config_.start_iter) return;
  if (!average_) {
    average_.emplace(run.method.student().parameters(), config_.decay);
    run.average = &*average_;
  }
  average_->update();
  run.tracker.log(run.step, {{"ema/decay", config_.decay}});
}

}  // namespace zoetrope
