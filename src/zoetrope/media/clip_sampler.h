// Cuts training clips out of a video as it streams by: frames at a target rate, one or several
// clips per video. Holds the frames of one clip at most, never the video.
//
// Rule. Grid time k / fps, counted from the first frame, takes the frame that is on screen then:
// the last one that starts at or before it (1 ms of grace, since containers round times). For a
// constant source rate that is frame floor(k * source_fps / fps), as FastVideo samples
// (fastvideo/pipelines/preprocess/preprocess_stages.py). A slow source repeats frames. The grid
// ends where the last frame ends. Clip c takes grid frames c * stride ... + num_frames - 1; an
// incomplete last clip is not made.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "zoetrope/media/frame.h"
#include "zoetrope/media/video_reader.h"

namespace zoetrope::media {

struct ClipOptions {
  double fps = 16.0;           ///< of the grid
  int64_t num_frames = 81;     ///< per clip
  int64_t stride_frames = 81;  ///< grid frames from the start of one clip to the start of the next
  int64_t first_clip = 0;      ///< earlier clips are passed over (to go on after a stop)
  /// Clips with an index from here on are not made; unset: all that fit.
  std::optional<int64_t> max_clips = std::nullopt;
};

struct Clip {
  int64_t index = 0;                    ///< within the video
  double start_sec = 0.0;               ///< grid time of its first frame
  std::vector<Frame> frames;            ///< num_frames of them
  std::vector<int64_t> source_indices;  ///< which frame of the video each one is
};

class ClipSampler {
 public:
  using Transform = std::function<Frame(const Frame&)>;

  /// `transform` (such as a resize) is applied once to each frame that is used. Borrows `reader`,
  /// which must not have been read from.
  ClipSampler(VideoReader& reader, const ClipOptions& options, Transform transform);

  /// The next clip, or nothing when the video or the wanted clips are at their end. Throws what
  /// VideoReader throws.
  std::optional<Clip> next();

  /// Grid frames seen so far; after next() gave nothing because the video ended: all that the video
  /// has.
  int64_t num_grid_frames() const { return next_grid_index_; }

 private:
  struct Picked {
    int64_t grid_index;
    int64_t source_index;
    std::shared_ptr<const Frame> frame;
  };

  bool read_frame();
  bool is_wanted(int64_t grid_index) const;

  VideoReader& reader_;
  ClipOptions options_;
  Transform transform_;
  Frame decoded_;
  std::deque<Picked> picked_;
  std::optional<double> origin_sec_;
  int64_t source_index_ = -1;
  int64_t next_grid_index_ = 0;
  int64_t next_clip_;
};

/// How many clips a video of `num_grid_frames` gives.
int64_t count_clips(int64_t num_grid_frames, const ClipOptions& options);

/// count_clips from a header's duration: for progress bars and plans only.
int64_t estimate_num_clips(const VideoInfo& info, const ClipOptions& options);

}  // namespace zoetrope::media
