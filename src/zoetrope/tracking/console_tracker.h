// The progress of a run for the person who watches it.
#pragma once

#include <chrono>
#include <map>

#include "zoetrope/tracking/tracker.h"

namespace zoetrope {

/// Prints step, loss, learning rate, gradient norm, samples and tokens per second, share of time
/// spent waiting for data and the time left: at most one line a second on a terminal (redrawn in
/// place), and one every ten seconds otherwise. The first, the last and validation steps are always
/// printed.
class ConsoleTracker : public Tracker {
 public:
  explicit ConsoleTracker(int64_t max_train_steps);
  void log(int64_t step, const std::vector<Metric>& metrics) override;
  void log_video(int64_t step, const std::string& name, const std::filesystem::path& mp4,
                 const std::string& caption, double fps) override;
  void finish() override;

 private:
  using Clock = std::chrono::steady_clock;

  void print_step(int64_t step);
  std::string time_left(int64_t step) const;
  void end_line();

  int64_t max_train_steps_;
  bool terminal_;
  bool line_open_ = false;
  int64_t first_step_ = -1;
  Clock::time_point start_;
  Clock::time_point last_print_;
  std::map<std::string, double> latest_;  ///< newest value of each metric
  std::map<std::string, double> sums_;    ///< of the rates since the last line
  int64_t num_summed_ = 0;
};

}  // namespace zoetrope
