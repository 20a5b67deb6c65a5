#include "zoetrope/pipelines/video_output.h"

#include <algorithm>

#include "zoetrope/base/error.h"

namespace zoetrope {

VideoOutput::VideoOutput(std::filesystem::path path, int64_t num_frames, int64_t num_kept,
                         double fps)
    : path_(std::move(path)), fps_(fps) {
  const int64_t count = std::min(num_frames, num_kept);
  for (int64_t i = 0; i < count; ++i)
    kept_indices_.push_back(count == 1 ? 0 : i * (num_frames - 1) / (count - 1));
}

void VideoOutput::add(const std::vector<media::Frame>& frames) {
  for (const media::Frame& frame : frames) {
    if (!writer_ && !path_.empty())
      writer_.emplace(path_, frame.width, frame.height, media::VideoWriterOptions{.fps = fps_});
    if (writer_) writer_->write(frame);
    if (std::binary_search(kept_indices_.begin(), kept_indices_.end(), num_written_))
      kept_.push_back(frame);
    ++num_written_;
  }
}

std::vector<media::Frame> VideoOutput::finish() {
  if (num_written_ == 0) fail<Error>("{}: a video must have a frame, but got none", path_.string());
  if (writer_) writer_->finish();
  return std::move(kept_);
}

}  // namespace zoetrope
