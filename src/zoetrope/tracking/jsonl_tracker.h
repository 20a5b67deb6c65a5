// Metrics as a JSON Lines file: one object a step, on disk as soon as it is logged.
#pragma once

#include <fstream>

#include "zoetrope/tracking/tracker.h"

namespace zoetrope {

class JsonlTracker : public Tracker {
 public:
  /// Appends to `path`. A last line that an earlier run left torn is removed. Throws Error when it
  /// cannot be opened.
  explicit JsonlTracker(const std::filesystem::path& path);

  /// `{"step": 3, "total_loss": 1.25, ...}`; numbers that JSON lacks are the texts `nan`, `inf`,
  /// `-inf`. Throws Error when the line cannot be written (such as on a full disk).
  void log(int64_t step, const std::vector<Metric>& metrics) override;
  void log_text(int64_t step, const std::string& name, const std::string& text) override;
  void log_image(int64_t step, const std::string& name, const std::filesystem::path& png) override;
  void log_video(int64_t step, const std::string& name, const std::filesystem::path& mp4,
                 const std::string& caption, double fps) override;
  /// Rewrites the file without the lines of later steps.
  void resume_at(int64_t step) override;

 private:
  void open();
  void write(const std::string& line);

  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace zoetrope
