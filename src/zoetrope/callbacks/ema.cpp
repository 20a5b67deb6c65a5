#include "zoetrope/callbacks/ema.h"

#include <algorithm>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

const std::string kPrefix = "student_ema.";
constexpr const char* kStarted = "ema_started";

}  // namespace

void EmaConfig::describe(config::Schema<EmaConfig>& schema) {
  schema.field("decay", &EmaConfig::decay, "Share of the old average that each step keeps.",
               config::between(0.0, 1.0));
  schema.field("start_iter", &EmaConfig::start_iter,
               "First step that is averaged; the average starts as a copy of it.",
               config::at_least(0));
}

EmaCallback::EmaCallback(const EmaConfig& config, const CallbackContext& /*context*/)
    : config_(config) {}

void EmaCallback::begin(RunState& run) {
  average_.emplace(run.method.student().parameters(), config_.decay);
  run.average = &*average_;
}

void EmaCallback::on_training_step_end(RunState& run) {
  if (run.step < config_.start_iter) return;
  if (!average_) begin(run);
  average_->update();
  run.tracker.log(run.step, {{"ema/decay", config_.decay}});
}

StateDict EmaCallback::state_dict() const {
  StateDict state;
  state.scalars.emplace_back(kStarted, average_.has_value());
  if (!average_) return state;
  state.shards = average_->shards();
  for (TensorShard& shard : state.shards) shard.name.insert(0, kPrefix);
  return state;
}

void EmaCallback::load_state_dict(const StateDict& state, RunState& run) {
  const bool started =
      std::any_of(state.scalars.begin(), state.scalars.end(), [](const auto& entry) {
        return entry.first == kStarted && entry.second == StateScalar(true);
      });
  // Before the first averaged step the reference stores a copy of the initial weights, which the
  // average replaces when it starts.
  if (started) begin(run);
}

}  // namespace zoetrope
