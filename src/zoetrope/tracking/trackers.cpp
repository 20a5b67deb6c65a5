#include "zoetrope/tracking/trackers.h"

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/tracking/console_tracker.h"
#include "zoetrope/tracking/jsonl_tracker.h"
#include "zoetrope/tracking/tensorboard_tracker.h"
#include "zoetrope/tracking/wandb_tracker.h"

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

void MultiTracker::resume_at(int64_t step) {
  for (auto& tracker : trackers_) tracker->resume_at(step);
}

void MultiTracker::finish() {
  for (auto& tracker : trackers_) tracker->finish();
}

namespace {

std::unique_ptr<Tracker> make_wandb_tracker(const TrackerConfig& config, const TrackedRun& run) {
  const std::filesystem::path folder = run.output_dir / "tracker";
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "run.yaml", config::write_yaml(run.document));
  WandbRun wandb;
  wandb.entity = config.entity;
  wandb.project = config.project_name;
  wandb.name =
      !config.run_name.empty()
          ? config.run_name
          : std::filesystem::absolute(run.output_dir).lexically_normal().filename().string();
  wandb.config = run.config;
  wandb.config_file = folder / "run.yaml";
  wandb.resumed = run.resumed;
  return std::make_unique<WandbTracker>(folder, wandb);
}

std::unique_ptr<Tracker> make_tracker(const std::string& name, const TrackerConfig& config,
                                      const TrackedRun& run) {
  if (name == "console") return std::make_unique<ConsoleTracker>(run.max_train_steps);
  if (name == "jsonl") return std::make_unique<JsonlTracker>(run.output_dir / "metrics.jsonl");
  if (name == "tensorboard")
    return std::make_unique<TensorboardTracker>(run.output_dir / "tensorboard");
  if (name == "wandb") return make_wandb_tracker(config, run);
  fail<ConfigError>(
      "training.tracker.trackers: must be trackers that can be used, but '{}' is not built yet",
      name);
}

}  // namespace

std::unique_ptr<Tracker> make_trackers(const TrackerConfig& config, const TrackedRun& run) {
  auto trackers = std::make_unique<MultiTracker>();
  for (const std::string& name : config.trackers) {
    if (name != "none") trackers->add(make_tracker(name, config, run));
  }
  return trackers;
}

}  // namespace zoetrope
