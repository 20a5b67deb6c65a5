// Weights & Biases through the official Python package, in a helper process fed with JSON lines.
// Training neither waits for it nor dies with it. What is logged and under which names follows
// FastVideo's training/trackers.py; the other half is wandb_helper.py.
#pragma once

#include <memory>
#include <string>

#include "zoetrope/config/node.h"
#include "zoetrope/tracking/tracker.h"
#include "zoetrope/tracking/wandb_feeder.h"

namespace zoetrope {

/// What the run is called and what is shown with it.
struct WandbRun {
  std::string entity;                 ///< empty: the account's default
  std::string project;                ///< empty: wandb's default
  std::string name;                   ///< empty: wandb makes one up
  config::Node config;                ///< resolved
  std::filesystem::path config_file;  ///< kept with the run under its name; empty for none
  bool resumed = false;               ///< goes on with the wandb run of the same folder
};

struct WandbOptions {
  /// Program that imports wandb; empty: $ZOETROPE_WANDB_PYTHON, or python3.
  std::string python;
  size_t max_waiting_records = 10000;
  std::chrono::seconds start_timeout{60};
  std::chrono::seconds finish_timeout{30};
};

class WandbTracker : public Tracker {
 public:
  /// Starts the helper and the run, with files below `folder`. Throws ConfigError when wandb cannot
  /// be imported or refuses to start (such as without an account); goes on when it only needs long.
  WandbTracker(const std::filesystem::path& folder, const WandbRun& run,
               const WandbOptions& options = {});
  /// As finish(), with the run marked as failed.
  ~WandbTracker() override;

  /// Records are queued; when the helper falls behind, the oldest metrics are dropped.
  void log(int64_t step, const std::vector<Metric>& metrics) override;
  void log_text(int64_t step, const std::string& name, const std::string& text) override;
  void log_image(int64_t step, const std::string& name, const std::filesystem::path& png) override;
  /// A name ending in `/0`, `/1` ... is one of a list.
  void log_video(int64_t step, const std::string& name, const std::filesystem::path& mp4,
                 const std::string& caption, double fps) override;
  /// Waits `finish_timeout` at most for what is not sent yet, then stops the helper; what it did
  /// not send stays in the folder, and a line says so.
  void finish() override;

 private:
  void close(int exit_code);

  std::unique_ptr<WandbFeeder> feeder_;
  bool closed_ = false;
};

}  // namespace zoetrope
