// Exponential moving average of the student's weights. Source: FastVideo callbacks/ema.py.
#pragma once

#include <optional>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/config/schema.h"

namespace zoetrope {

struct EmaConfig {
  double decay = 0.9999;
  int64_t start_iter = 0;
  static void describe(config::Schema<EmaConfig>& schema);
};

/// From step `start_iter` on: at the first such step the average becomes a copy of the weights,
/// then average = decay average + (1 - decay) weights after every step. Validation and the export
/// use it once it has started.
class EmaCallback : public Callback {
 public:
  EmaCallback(const EmaConfig& config, const CallbackContext& context);
  void on_training_step_end(RunState& run) override;
  /// `student_ema.<parameter>` and `ema_started`, as FastVideo names them.
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state, RunState& run) override;

 private:
  void begin(RunState& run);

  EmaConfig config_;
  std::optional<ExponentialMovingAverage> average_;
};

}  // namespace zoetrope
