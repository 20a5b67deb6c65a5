#include "zoetrope/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/optim/gradient_norm.h"
#include "zoetrope/tensor/memory_count.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Trainer::Trainer(Options options, const Parts& parts)
    : options_(options),
      method_(parts.method),
      loader_(parts.loader),
      callbacks_(parts.callbacks),
      checkpoints_(parts.checkpoints),
      mesh_(parts.mesh),
      state_{parts.method, parts.tracker} {}

void Trainer::run() {
  method_.on_train_start();
  method_.prepare_data(loader_.rows(), *mesh_);
  if (any_rank_stops()) return;  // nothing was trained that could be saved
  for (auto& [name, callback] : callbacks_) callback->on_train_start(state_);
  checkpoints_.resume({state_, callbacks_, loader_});
  for (auto& [name, callback] : callbacks_) callback->on_validation_begin(state_);
  while (state_.step < options_.max_train_steps && !any_rank_stops()) train_step();
  checkpoints_.save_last({state_, callbacks_, loader_});
  for (auto& [name, callback] : callbacks_) callback->on_train_end(state_);
}

bool Trainer::any_rank_stops() const {
  // All ranks must leave the loop behind the same step.
  return any_rank(*mesh_->world, StopSignal::received() != 0);
}

void Trainer::train_step() {
  const auto start = Clock::now();
  ++state_.step;
  const StepTotals totals = run_micro_batches();
  const std::vector<RoleOptimizer*> optimizers = method_.optimizers(state_.step);
  std::vector<OptimizerUpdate> updates = measure_gradients(optimizers);
  const StepMetrics::Means means = totals.metrics.means(*mesh_);
  check_finite(means.losses, updates, totals);
  state_.losses.clear();
  for (const Metric& loss : means.losses)
    state_.losses.emplace_back(loss.name, at::scalar_tensor(loss.value, at::kDouble));
  for (auto& [name, callback] : callbacks_) callback->on_before_optimizer_step(state_, updates);
  checkpoints_.wait_for_copy();
  std::vector<Metric> metrics = means.losses;
  for (OptimizerUpdate& update : updates) {
    metrics.push_back({"lr/" + update.optimizer->role(), update.optimizer->learning_rate()});
    update.optimizer->step(update.gradient_scale);
    update.optimizer->model().parameters().zero_gradients();
  }
  method_.on_optimizer_step_end(state_.step);
  metrics.insert(metrics.end(), means.metrics.begin(), means.metrics.end());
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
    backward(output, round + 1 == options_.gradient_accumulation_steps);
    totals.metrics.add(output);
    totals.num_tokens += output.num_tokens;
    state_.tensors = std::move(output.tensors);
  }
  return totals;
}

// A gradient that is kept for the next step would be summed over the ranks once more.
void Trainer::check_objectives(const StepOutput& output) const {
  const std::vector<RoleOptimizer*> optimizers = method_.optimizers(state_.step);
  for (const auto& [role, owned] : method_.roles().all()) {
    const auto* model = owned.get();
    const bool has_objective =
        std::any_of(output.objectives.begin(), output.objectives.end(),
                    [model](const auto& objective) { return objective.first == model; });
    const bool is_updated =
        std::any_of(optimizers.begin(), optimizers.end(),
                    [model](RoleOptimizer* optimizer) { return &optimizer->model() == model; });
    if (!has_objective || is_updated) continue;
    fail(
        "step {}: a role that gets a gradient must have an optimizer that steps, but that of '{}' "
        "does not",
        state_.step, role);
  }
}

void Trainer::backward(const StepOutput& output, bool is_last) {
  check_objectives(output);
  const auto for_each_store = [&](const auto& visit) {
    for (const auto& [role, model] : method_.roles().all()) {
      for (ParameterStore* store : model->parameter_stores()) visit(store->residency());
    }
  };
  for_each_store([&](ParameterResidency& residency) { residency.begin_micro_batch(is_last); });
  // The sum over micro-batches and ranks is the mean over the samples of the step.
  method_.backward(output, options_.gradient_accumulation_steps * mesh_->sizes.num_data_groups());
  for_each_store([](ParameterResidency& residency) { residency.finish_micro_batch(); });
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
  const auto per_sec = [&](int64_t count) {
    return static_cast<double>(count * mesh_->sizes.num_data_groups()) / step_sec;
  };
  metrics.push_back({"samples_per_sec", per_sec(totals.num_samples)});
  metrics.push_back({"tokens_per_sec", per_sec(totals.num_tokens)});
  const uint64_t peak_bytes = peak_tensor_bytes(method_.student().parameters().options().device);
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  if (peak_bytes > 0)
    metrics.push_back({"memory_peak_gib", static_cast<double>(peak_bytes) / kGib});
  state_.tracker.log(state_.step, metrics);
}

}  // namespace zoetrope
