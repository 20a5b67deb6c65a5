// Metrics, texts and images as an event file that TensorBoard reads. Written natively: TFRecord
// framing around protobuf messages (tensorflow/core/util/event.proto, framework/summary.proto).
// Videos have no plugin there; their contact sheets come as images.
#pragma once

#include <fstream>

#include "zoetrope/tracking/tracker.h"

namespace zoetrope {

class TensorboardTracker : public Tracker {
 public:
  /// Starts a new event file in `folder`, which is created. Throws Error when that fails.
  explicit TensorboardTracker(const std::filesystem::path& folder);

  /// One scalar a metric. On disk when it returns. Throws Error when writing fails.
  void log(int64_t step, const std::vector<Metric>& metrics) override;
  /// Shown in the text tab, as Markdown.
  void log_text(int64_t step, const std::string& name, const std::string& text) override;
  /// Throws Error when `png` is not a PNG file.
  void log_image(int64_t step, const std::string& name, const std::filesystem::path& png) override;
  /// Marks a restart, by which TensorBoard leaves out the later steps of the files before.
  void resume_at(int64_t step) override;

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(const std::string& record);

  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace zoetrope
