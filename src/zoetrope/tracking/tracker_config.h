// The `training.tracker` section: where metrics, videos and the config of a run are recorded. Plain
// values. Source: FastVideo train/utils/training_config.py (names); the default trackers are our
// own.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/config/schema.h"

namespace zoetrope {

struct TrackerConfig {
  std::vector<std::string> trackers = {"console", "jsonl", "tensorboard"};
  std::string entity;
  std::string project_name = "fastvideo";
  std::string run_name;

  /// An empty list with a project means W&B, as in FastVideo (train/utils/tracking.py).
  void resolve();

  static void describe(config::Schema<TrackerConfig>& schema);
};

}  // namespace zoetrope
