#include "zoetrope/tracking/trackers.h"

#include "zoetrope/base/error.h"
#include "zoetrope/tracking/console_tracker.h"
#include "zoetrope/tracking/jsonl_tracker.h"
#include "zoetrope/tracking/tensorboard_tracker.h"

namespace zoetrope {

void MultiTracker::log(int64_t step, const std::vector<Metric>& metrics) {
  for (auto& tracker : trackers_) tracker->log(step, metrics);
}

void MultiTracker::log_text(int64_t step, const std::string& name, const std::string& text) {
  for (auto& tracker : trackers_) tracker->log_text(step, name, text);
}

void MultiTracker::log_image(int64_t step, const std::string& name,
                             const std::filesystem::path& png) {
  for (auto& tracker : trackers_) tracker->log_image(step, name, png);
}

void MultiTracker::log_video(int64_t step, const std::string& name,
                             const std::filesystem::path& mp4, const std::string& caption,
                             double fps) {
  for (auto& tracker : trackers_) tracker->log_video(step, name, mp4, caption, fps);
}

void MultiTracker::finish() {
  for (auto& tracker : trackers_) tracker->finish();
}

std::unique_ptr<Tracker> make_trackers(const TrackerConfig& config,
                                       const std::filesystem::path& output_dir,
                                       int64_t max_train_steps) {
  auto trackers = std::make_unique<MultiTracker>();
  for (const std::string& name : config.trackers) {
    if (name == "console") {
      trackers->add(std::make_unique<ConsoleTracker>(max_train_steps));
    } else if (name == "jsonl") {
      trackers->add(std::make_unique<JsonlTracker>(output_dir / "metrics.jsonl"));
    } else if (name == "tensorboard") {
      trackers->add(std::make_unique<TensorboardTracker>(output_dir / "tensorboard"));
    } else if (name != "none") {
      fail<ConfigError>(
          "training.tracker.trackers: must be trackers that can be used, but '{}' is not built yet",
          name);
    }
  }
  return trackers;
}

}  // namespace zoetrope
