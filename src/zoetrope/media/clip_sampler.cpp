#include "zoetrope/media/clip_sampler.h"

#include <algorithm>
#include <cmath>

#include "zoetrope/base/error.h"

namespace zoetrope::media {
namespace {

constexpr double kGraceSec = 1e-3;

}  // namespace

ClipSampler::ClipSampler(VideoReader& reader, const ClipOptions& options, Transform transform)
    : reader_(reader),
      options_(options),
      transform_(std::move(transform)),
      next_clip_(options.first_clip) {
  if (!std::isfinite(options.fps) || options.fps <= 0.0) {
    fail<ConfigError>("clip sampling: fps must be a positive number, but is {}", options.fps);
  }
  if (options.num_frames < 1 || options.stride_frames < 1 || options.first_clip < 0) {
    fail<ConfigError>(
        "clip sampling: num_frames and stride_frames must be at least 1 and first_clip at least 0, "
        "but they are {}, {} "
        "and {}",
        options.num_frames, options.stride_frames, options.first_clip);
  }
}

bool ClipSampler::is_wanted(int64_t grid_index) const {
  const int64_t first = next_clip_ * options_.stride_frames;
  if (grid_index < first) return false;
  const bool clips_overlap = options_.stride_frames <= options_.num_frames;
  return clips_overlap || (grid_index - first) % options_.stride_frames < options_.num_frames;
}

// Takes the next frame of the video to every grid time that it covers.
bool ClipSampler::read_frame() {
  if (!reader_.next()) return false;
  ++source_index_;
  if (!origin_sec_) origin_sec_ = reader_.time_sec();
  const double end_sec = reader_.end_sec() - *origin_sec_;
  std::shared_ptr<const Frame> frame;
  while (static_cast<double>(next_grid_index_) / options_.fps + kGraceSec < end_sec) {
    if (is_wanted(next_grid_index_)) {
      if (!frame) {
        reader_.copy_to(decoded_);
        frame = std::make_shared<const Frame>(transform_(decoded_));
      }
      picked_.push_back({next_grid_index_, source_index_, frame});
    }
    ++next_grid_index_;
  }
  return true;
}

std::optional<Clip> ClipSampler::next() {
  if (options_.max_clips && next_clip_ >= *options_.max_clips) return std::nullopt;
  const int64_t first = next_clip_ * options_.stride_frames;
  while (!picked_.empty() && picked_.front().grid_index < first) picked_.pop_front();
  while (next_grid_index_ < first + options_.num_frames) {
    if (!read_frame()) return std::nullopt;
  }
  Clip clip;
  clip.index = next_clip_++;
  clip.start_sec = static_cast<double>(first) / options_.fps;
  for (int64_t i = 0; i < options_.num_frames; ++i) {
    const Picked& picked = picked_[static_cast<size_t>(i)];
    clip.frames.push_back(*picked.frame);
    clip.source_indices.push_back(picked.source_index);
  }
  return clip;
}

int64_t count_clips(int64_t num_grid_frames, const ClipOptions& options) {
  if (num_grid_frames < options.num_frames) return 0;
  int64_t count = (num_grid_frames - options.num_frames) / options.stride_frames + 1;
  if (options.max_clips) count = std::min(count, *options.max_clips);
  return std::max<int64_t>(0, count - options.first_clip);
}

int64_t estimate_num_clips(const VideoInfo& info, const ClipOptions& options) {
  return count_clips(std::llround(std::ceil((info.duration_sec - kGraceSec) * options.fps)),
                     options);
}

}  // namespace zoetrope::media
