#include "zoetrope/tracking/tracker_config.h"

#include <algorithm>

namespace zoetrope {

void TrackerConfig::resolve() {
  if (trackers.empty() && !project_name.empty()) trackers = {"wandb"};
}

void TrackerConfig::describe(config::Schema<TrackerConfig>& schema) {
  schema.field(
      "trackers", &TrackerConfig::trackers,
      "Where metrics go: `console` (progress line), `jsonl` and `tensorboard` (files under the "
      "output folder), `wandb` (Weights & Biases; files under `tracker` in the output folder). "
      "`[none]` records nothing; `[]` is `[wandb]` when `project_name` is not empty. `swanlab` is "
      "not built yet.",
      config::one_of({"none", "console", "jsonl", "tensorboard", "wandb"}, {"swanlab"}));
  schema.field("entity", &TrackerConfig::entity,
               "Team or user of `wandb`; empty for the account's default.");
  schema.field("project_name", &TrackerConfig::project_name, "Project of `wandb`.");
  schema.field("run_name", &TrackerConfig::run_name,
               "Name of the run; empty for the output folder's name.");
  schema.check([](const TrackerConfig& tracker, const config::Node& node,
                  const config::ReadContext& context) {
    const auto has = [&](const char* name) {
      return std::find(tracker.trackers.begin(), tracker.trackers.end(), name) !=
             tracker.trackers.end();
    };
    const config::Node* given = node.find("trackers");
    const config::ReadContext child{context.issues, config::child_path(context.path, "trackers")};
    if (given == nullptr) return;
    if (has("none") && tracker.trackers.size() > 1) {
      refuse(*given, child, "must be 'none' alone or trackers without it, but got both");
    }
  });
}

}  // namespace zoetrope
