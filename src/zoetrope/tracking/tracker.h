// Where a run's numbers, texts, images and videos go. Knows no file format and no console; trackers
// beside this file do.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zoetrope {

struct Metric {
  std::string name;
  double value = 0.0;
};

class Tracker {
 public:
  virtual ~Tracker() = default;
  virtual void log(int64_t step, const std::vector<Metric>& metrics) = 0;
  virtual void log_text(int64_t /*step*/, const std::string& /*name*/,
                        const std::string& /*text*/) {}
  /// `png`: an encoded file.
  virtual void log_image(int64_t /*step*/, const std::string& /*name*/,
                         const std::filesystem::path& /*png*/) {}
  virtual void log_video(int64_t /*step*/, const std::string& /*name*/,
                         const std::filesystem::path& /*mp4*/, const std::string& /*caption*/,
                         double /*fps*/) {}
  /// The run goes on from a checkpoint of `step`: what an interrupted run logged for later steps is
  /// taken back, since they come again. Called before the first log().
  virtual void resume_at(int64_t /*step*/) {}
  /// Flushes everything; called once, at the end.
  virtual void finish() {}
};

}  // namespace zoetrope
