// The `training.optimizer` section: AdamW and its learning-rate schedule. Plain values; knows no
// tensors. Source: FastVideo train/utils/training_config.py (names and defaults).
#pragma once

#include <cstdint>
#include <string>

#include "zoetrope/config/schema.h"

namespace zoetrope {

/// Decay rates of AdamW's first and second moment. In YAML: `[0.9, 0.999]` or `"0.9,0.999"`.
struct AdamBetas {
  double first = 0.9;
  double second = 0.999;
};

struct OptimizerConfig {
  double learning_rate = 0.0;
  AdamBetas betas;
  double weight_decay = 0.0;
  std::string lr_scheduler = "constant";
  int64_t lr_warmup_steps = 0;
  int64_t lr_num_cycles = 0;
  double lr_power = 0.0;
  double min_lr_ratio = 0.5;

  static void describe(config::Schema<OptimizerConfig>& schema);
};

/// The schedules that `lr_scheduler` may name; methods with schedules of their own accept the same.
config::Constraint known_lr_scheduler();

namespace config {

template <>
struct Type<AdamBetas> {
  static std::string name() { return "two numbers"; }
  static bool read(const Node& node, AdamBetas& value, const ReadContext& context);
  static Node write(const AdamBetas& value);
  static const AnySchema* schema() { return nullptr; }
};

}  // namespace config
}  // namespace zoetrope
