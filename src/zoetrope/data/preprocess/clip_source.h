// Decodes videos in background threads and hands out their clips in the order of the list, so that
// what is written does not depend on the number of threads. Knows no encoder and no file to write.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/data/preprocess/buckets.h"
#include "zoetrope/data/preprocess/source_list.h"

namespace zoetrope {

struct ClipSourceOptions {
  double fps = 16.0;
  int64_t num_frames = 81;
  int64_t clip_stride = 81;          ///< frames (at `fps`) from one clip's start to the next
  std::optional<int64_t> max_clips;  ///< per video; unset: all that fit
  std::vector<Bucket> buckets;
  int64_t num_threads = 2;
  bool needs_caption = true;
  /// Takes the actions of every frame, too; a video with other controls than these is a fault.
  std::optional<std::string> controls = std::nullopt;
};

/// The place of a clip in the whole work.
struct ClipPlace {
  int64_t entry = 0;
  int64_t clip = 0;  ///< within its video
};

/// Either a clip, or the end of a video.
struct ClipEvent {
  ClipPlace place;  ///< at the end of a video: the number of its clips, those skipped included
  at::Tensor pixels_FHWC = {};  ///< uint8 RGB; undefined at the end of a video
  FrameActions actions = {};    ///< of the clip's frames, where they were asked for
  std::string fault =
      {};  ///< at the end: why the video gave no clips, or no further ones; else empty
};

class ClipSource {
 public:
  /// Begins at `first`. `entries` must outlive this.
  ClipSource(const std::vector<SourceEntry>& entries, ClipPlace first, ClipSourceOptions options);
  ~ClipSource();
  ClipSource(const ClipSource&) = delete;
  ClipSource& operator=(const ClipSource&) = delete;

  /// The next clip or end of a video, in order; nothing after the last video. A faulty video is an
  /// event with a fault; only what is no fault of a video (such as memory that is out) is thrown.
  std::optional<ClipEvent> next();

 private:
  struct Stream {
    std::deque<ClipEvent> events;
    bool ended = false;
    std::exception_ptr error;
  };

  void work();
  void decode(int64_t entry);
  // Push the clips of a source and count them in `place`; false when the work is to stop.
  bool give_rendered_clip(const SourceEntry& source, ClipPlace& place);
  bool give_video_clips(const SourceEntry& source, ClipPlace& place);
  bool push(int64_t entry, ClipEvent event, bool is_end);

  const std::vector<SourceEntry>& entries_;
  ClipPlace first_;
  ClipSourceOptions options_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  int64_t next_to_decode_;
  int64_t next_to_give_;
  std::map<int64_t, Stream> streams_;  // of videos that are begun and not wholly given
  std::vector<std::thread> threads_;
};

}  // namespace zoetrope
