// The trackers that a config names, as one.
#pragma once

#include <filesystem>
#include <memory>

#include "zoetrope/config/node.h"
#include "zoetrope/tracking/tracker.h"
#include "zoetrope/tracking/tracker_config.h"

namespace zoetrope {

/// Hands everything on to several trackers, in order.
class MultiTracker : public Tracker {
 public:
  void add(std::unique_ptr<Tracker> tracker) { trackers_.push_back(std::move(tracker)); }
  void log(int64_t step, const std::vector<Metric>& metrics) override;
  void log_text(int64_t step, const std::string& name, const std::string& text) override;
  void log_image(int64_t step, const std::string& name, const std::filesystem::path& png) override;
  void log_video(int64_t step, const std::string& name, const std::filesystem::path& mp4,
                 const std::string& caption, double fps) override;
  void resume_at(int64_t step) override;
  void finish() override;

 private:
  std::vector<std::unique_ptr<Tracker>> trackers_;
};

/// What trackers need to know of the run they record.
struct TrackedRun {
  std::filesystem::path output_dir;
  int64_t max_train_steps = 0;
  config::Node config;    ///< resolved
  config::Node document;  ///< as written, overrides applied; W&B keeps it as `run.yaml`
  bool resumed = false;   ///< goes on from a checkpoint, so with the same W&B run
};

/// Builds `config.trackers`; none of them is a tracker that does nothing. Files go below the
/// output folder. Throws ConfigError for a tracker that is not built or cannot start.
std::unique_ptr<Tracker> make_trackers(const TrackerConfig& config, const TrackedRun& run);

}  // namespace zoetrope
