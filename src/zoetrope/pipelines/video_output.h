// A video file that is written while its frames come, and the few frames of it that a contact sheet
// shows: memory does not grow with the length of the video.
#pragma once

#include <optional>

#include "zoetrope/media/video_writer.h"

namespace zoetrope {

class VideoOutput {
 public:
  /// `num_frames` in all; `num_kept` of them are kept, evenly spaced, the first and the last
  /// included. Without a path no file is written.
  VideoOutput(std::filesystem::path path, int64_t num_frames, int64_t num_kept, double fps);

  /// Appends frames. Throws Error as media::VideoWriter.
  void add(const std::vector<media::Frame>& frames);
  /// Completes the file, and returns the kept frames.
  std::vector<media::Frame> finish();

 private:
  std::filesystem::path path_;
  std::vector<int64_t> kept_indices_;  ///< ascending
  double fps_;
  int64_t num_written_ = 0;
  std::optional<media::VideoWriter> writer_;  ///< opened by the first frame, whose size it takes
  std::vector<media::Frame> kept_;
};

}  // namespace zoetrope
