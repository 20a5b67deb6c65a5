#include "zoetrope/train/trainer.h"

#include <chrono>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/optim/gradient_norm.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class Pairs, class Value>
void add_to(Pairs& totals, const std::string& name, const Value& value) {
  for (auto& [existing, total] : totals) {
    if (existing == name) {
      total = total + value;
      return;
    }
  }
  totals.emplace_back(name, value);
}

// One copy to the host for all losses of a step.
std::vector<Metric> mean_losses(const std::vector<std::pair<std::string, at::Tensor>>& sums,
                                int64_t num_rounds) {
  std::vector<at::Tensor> scalars;
  scalars.reserve(sums.size());
  for (const auto& [name, sum] : sums) scalars.push_back(sum.to(at::kDouble));
  const at::Tensor on_host = at::stack(scalars).div(num_rounds).to(at::kCPU);
  std::vector<Metric> metrics;
  for (size_t i = 0; i < sums.size(); ++i) {
    metrics.push_back({sums[i].first, on_host.const_data_ptr<double>()[i]});
  }
  return metrics;
}

}  // namespace

Trainer::Trainer(Options options, const Parts& parts)
    : options_(options),
      method_(parts.method),
      loader_(parts.loader),
      callbacks_(parts.callbacks),
      checkpoints_(parts.checkpoints),
      state_{parts.method, parts.tracker} {}

void Trainer::run() {
  method_.on_train_start();
  method_.prepare_data(loader_.rows());
  if (StopSignal::received() != 0) return;  // nothing was trained that could be saved
  for (auto& [name, callback] : callbacks_) callback->on_train_start(state_);
  checkpoints_.resume({state_, callbacks_, loader_});
  for (auto& [name, callback] : callbacks_) callback->on_validation_begin(state_);
  while (state_.step < options_.max_train_steps && StopSignal::received() == 0) train_step();
  checkpoints_.save_last({state_, callbacks_, loader_});
  for (auto& [name, callback] : callbacks_) callback->on_train_end(state_);
}

void Trainer::train_step() {
  const auto start = Clock::now();
  ++state_.step;
  const StepTotals totals = run_micro_batches();
  const std::vector<RoleOptimizer*> optimizers = method_.optimizers(state_.step);
  std::vector<OptimizerUpdate> updates = measure_gradients(optimizers);
  std::vector<Metric> metrics = mean_losses(totals.losses, options_.gradient_accumulation_steps);
  check_finite(metrics, updates, totals);
  for (auto& [name, callback] : callbacks_) callback->on_before_optimizer_step(state_, updates);
  checkpoints_.wait_for_copy();
  for (OptimizerUpdate& update : updates) {
    metrics.push_back({"lr/" + update.optimizer->role(), update.optimizer->learning_rate()});
    update.optimizer->step(update.gradient_scale);
    update.optimizer->model().parameters().zero_gradients();
  }
  method_.on_optimizer_step_end(state_.step);
  for (const auto& [name, sum] : totals.metrics) {
    metrics.push_back({name, sum / static_cast<double>(options_.gradient_accumulation_steps)});
  }
  log_step(std::move(metrics), totals, seconds_since(start));
  for (auto& [name, callback] : callbacks_) callback->on_training_step_end(state_);
  checkpoints_.save_when_due({state_, callbacks_, loader_});
  for (auto& [name, callback] : callbacks_) callback->on_validation_begin(state_);
}

Trainer::StepTotals Trainer::run_micro_batches() {
  StepTotals totals;
  for (int64_t round = 0; round < options_.gradient_accumulation_steps; ++round) {
    const double waited_before_sec = loader_.data_wait_sec();
    const Batch batch = loader_.next();
    totals.data_wait_sec += loader_.data_wait_sec() - waited_before_sec;
    for (const SampleInfo& info : batch.info) totals.sample_names.push_back(info.describe());
    totals.num_samples += static_cast<int64_t>(batch.info.size());
    StepOutput output = method_.single_train_step(
        batch, {state_.step, round, options_.gradient_accumulation_steps});
    method_.backward(output, options_.gradient_accumulation_steps);
    for (const auto& [name, loss] : output.losses) add_to(totals.losses, name, loss);
    for (const auto& [name, value] : output.metrics) add_to(totals.metrics, name, value);
    totals.num_tokens += output.num_tokens;
    state_.losses = std::move(output.losses);
    state_.tensors = std::move(output.tensors);
  }
  return totals;
}

std::vector<OptimizerUpdate> Trainer::measure_gradients(
    const std::vector<RoleOptimizer*>& optimizers) const {
  std::vector<OptimizerUpdate> updates;
  updates.reserve(optimizers.size());
  for (RoleOptimizer* optimizer : optimizers) {
    updates.push_back({optimizer, global_gradient_norm(optimizer->model().parameters()), 1.0});
  }
  return updates;
}

void Trainer::check_finite(const std::vector<Metric>& losses,
                           const std::vector<OptimizerUpdate>& updates,
                           const StepTotals& totals) const {
  const auto stop = [&](const std::string& what, double value) {
    fail<TrainingError>(
        "step {}: {} must be finite, but is {}; stopped before the optimizer step. Samples of this "
        "step: {}; look at "
        "them, lower the learning rate, or clip gradients",
        state_.step, what, value, fmt::join(totals.sample_names, ", "));
  };
  for (const Metric& loss : losses) {
    if (!std::isfinite(loss.value)) stop(loss.name, loss.value);
  }
  for (const OptimizerUpdate& update : updates) {
    if (!std::isfinite(update.gradient_norm))
      stop("grad_norm/" + update.optimizer->role(), update.gradient_norm);
  }
}

void Trainer::log_step(std::vector<Metric> metrics, const StepTotals& totals, double step_sec) {
  metrics.push_back({"step_time_sec", step_sec});
  metrics.push_back({"data_wait_sec", totals.data_wait_sec});
  if (checkpoints_.enabled())
    metrics.push_back({"checkpoint_wait_sec", checkpoints_.waited_sec() - checkpoint_waited_sec_});
  checkpoint_waited_sec_ = checkpoints_.waited_sec();
  metrics.push_back({"samples_per_sec", static_cast<double>(totals.num_samples) / step_sec});
  metrics.push_back({"tokens_per_sec", static_cast<double>(totals.num_tokens) / step_sec});
  state_.tracker.log(state_.step, metrics);
}

}  // namespace zoetrope
