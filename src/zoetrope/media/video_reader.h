// Reads a video file frame by frame with presentation times, through FFmpeg. Any codec, container
// and pixel format that FFmpeg decodes comes out as RGB. Damaged and truncated files are refused,
// never silently shortened. Single-threaded by design: callers read many files at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "zoetrope/media/frame.h"
#include "zoetrope/media/orientation.h"

namespace zoetrope::media {

/// What a file's header says about its video stream.
struct VideoInfo {
  int width = 0;                     ///< of the upright picture, in pixels
  int height = 0;                    ///< of the upright picture, in pixels
  double fps = 0.0;                  ///< average rate; frames may stand at irregular times
  double duration_sec = 0.0;         ///< 0 where the container does not say
  int64_t num_frames = 0;            ///< from the header, else duration * fps; 0 when unknown
  bool num_frames_is_exact = false;  ///< the header states it
  Orientation orientation;           ///< what made the stored picture upright
  std::string codec;                 ///< for example `h264`
};

/// Decodes one video file. Every error is a DataError that names the file. Frames come upright,
/// turned as a player does; a non-square pixel aspect is not applied.
class VideoReader {
 public:
  /// Opens the file and its decoder. Throws DataError for a missing, empty or foreign file and for
  /// one without a video stream.
  explicit VideoReader(const std::filesystem::path& path);
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;
  VideoReader& operator=(VideoReader&&) noexcept;

  const VideoInfo& info() const;
  const std::filesystem::path& path() const;

  /// Goes to the next frame in order of presentation (and decodes the one after it). False at the
  /// end. Throws DataError when the file has no frame at all, is damaged, or ends before the frames
  /// that its header promises.
  bool next();
  /// Presentation time of the frame that next() went to, in seconds from the start of the stream.
  double time_sec() const;
  /// When the following frame replaces it; after the last frame, one average frame interval later.
  double end_sec() const;
  /// Writes the frame that next() went to, to `frame`, reusing its memory.
  void copy_to(Frame& frame);

  /// Makes next() go on with the first frame that is shown at `time_sec` or later.
  void seek(double time_sec);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// All frames of a short video, for tests and small clips; use VideoReader for anything long.
std::vector<Frame> read_all_frames(const std::filesystem::path& path);

}  // namespace zoetrope::media
