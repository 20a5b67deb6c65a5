// Writes RGB frames as an H.264 (libx264), yuv420p, mp4 file that any player opens. The file
// appears under its name only when it is complete.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "zoetrope/media/frame.h"

namespace zoetrope::media {

struct VideoWriterOptions {
  double fps = 16.0;
  int crf = 23;  ///< 0 (lossless) to 51; x264's own default
  std::string preset =
      "ultrafast";  ///< x264 speed preset; FastVideo's choice for validation videos
};

/// Encodes one file. Errors are Error with the file's name.
class VideoWriter {
 public:
  /// Width and height must be even and positive (4:2:0 shares colour between 2x2 pixels).
  VideoWriter(const std::filesystem::path& path, int width, int height,
              const VideoWriterOptions& options = {});
  /// Removes an unfinished file.
  ~VideoWriter();
  VideoWriter(VideoWriter&&) noexcept;
  VideoWriter& operator=(VideoWriter&&) noexcept;

  /// Appends a frame of exactly the writer's size.
  void write(const Frame& frame);
  /// Completes the file and puts it in place. At least one frame must have been written. Call it
  /// once.
  void finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes a whole video; all frames have the size of the first.
void write_video(const std::filesystem::path& path, const std::vector<Frame>& frames,
                 const VideoWriterOptions& options = {});

}  // namespace zoetrope::media
