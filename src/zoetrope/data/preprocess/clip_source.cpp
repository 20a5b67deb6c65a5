#include "zoetrope/data/preprocess/clip_source.h"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/media/clip_sampler.h"
#include "zoetrope/media/resize.h"
#include "zoetrope/media/video_reader.h"

namespace zoetrope {
namespace {

constexpr size_t kClipsAheadPerVideo = 2;

at::Tensor to_pixels(const std::vector<media::Frame>& frames) {
  const media::Frame& first = frames.front();
  at::Tensor pixels_FHWC =
      at::empty({std::ssize(frames), first.height, first.width, 3}, at::TensorOptions(at::kByte));
  auto* target = pixels_FHWC.mutable_data_ptr<uint8_t>();
  for (const media::Frame& frame : frames) {
    std::memcpy(target, frame.rgb.data(), frame.rgb.size());
    target += frame.rgb.size();
  }
  return pixels_FHWC;
}

void check_entry(const SourceEntry& entry, const ClipSourceOptions& options) {
  if (entry.render) return;
  if (options.needs_caption && entry.captions.empty()) {
    fail<DataError>(
        "{}: must have a caption, but has none; put it into {} or into the list",
        entry.video.string(),
        std::filesystem::path(entry.video).replace_extension(".txt").filename().string());
  }
  if (!std::filesystem::exists(entry.video)) {
    fail<DataError>("{}: must be a video file, but does not exist", entry.video.string());
  }
}

void check_num_actions(const SourceEntry& entry, const FrameActions& actions, int64_t num_frames) {
  if (actions.num_frames() == num_frames) return;
  fail<DataError>("{}: must have one row of actions for each of its {} frames, but has {} rows",
                  entry.video.string(), num_frames, actions.num_frames());
}

/// The actions of every frame, or nothing where none are asked for.
std::optional<FrameActions> read_actions(const SourceEntry& entry,
                                         const ClipSourceOptions& options) {
  if (!options.controls) return std::nullopt;
  FrameActions actions = actions_of(entry);
  if (actions.describe_controls() != *options.controls) {
    fail<DataError>("{}: must have {} as the other videos, but has {}", entry.video.string(),
                    *options.controls, actions.describe_controls());
  }
  return actions;
}

/// Frames of the video before those that seek(start_sec) goes to.
int64_t count_frames_before(const SourceEntry& entry) {
  if (entry.start_sec <= 0.0) return 0;
  media::VideoReader sought(entry.video);
  sought.seek(entry.start_sec);
  if (!sought.next()) return 0;
  media::VideoReader reader(entry.video);
  int64_t count = 0;
  while (reader.next() && reader.time_sec() < sought.time_sec()) ++count;
  return count;
}

/// The rows of the frames that a clip was made of; `first` is that of the sampler's frame 0.
FrameActions take_actions(const SourceEntry& entry, const FrameActions& actions,
                          std::vector<int64_t> frames, int64_t first) {
  for (int64_t& frame : frames) {
    frame += first;
    if (frame < actions.num_frames()) continue;
    fail<DataError>(
        "{}: must have one row of actions for each frame, but has {} rows, none for "
        "frame {}",
        entry.video.string(), actions.num_frames(), frame);
  }
  return actions.rows(frames);
}

}  // namespace

ClipSource::ClipSource(const std::vector<SourceEntry>& entries, ClipPlace first,
                       ClipSourceOptions options)
    : entries_(entries),
      first_(first),
      options_(std::move(options)),
      next_to_decode_(first.entry),
      next_to_give_(first.entry) {
  for (int64_t i = 0; i < std::max<int64_t>(1, options_.num_threads); ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

ClipSource::~ClipSource() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ClipSource::work() {
  for (;;) {
    int64_t entry = 0;
    {
      std::unique_lock lock(mutex_);
      // Videos that are decoded but not yet given wait with their clips: only so many at a time.
      changed_.wait(lock, [this] {
        return stopping_ || next_to_decode_ >= std::ssize(entries_) ||
               std::ssize(streams_) < std::ssize(threads_) + 1;
      });
      if (stopping_ || next_to_decode_ >= std::ssize(entries_)) return;
      entry = next_to_decode_++;
      streams_[entry];
    }
    decode(entry);
  }
}

void ClipSource::decode(int64_t entry) {
  const SourceEntry& source = entries_[static_cast<size_t>(entry)];
  ClipEvent end{.place = {entry, entry == first_.entry ? first_.clip : 0}};
  try {
    check_entry(source, options_);
    const bool go_on =
        source.render ? give_rendered_clip(source, end.place) : give_video_clips(source, end.place);
    if (!go_on) return;
  } catch (const Error& error) {
    end.fault = describe_error_chain(error);
  } catch (const std::exception&) {
    const std::lock_guard lock(mutex_);
    streams_[entry].error = std::current_exception();
  }
  push(entry, std::move(end), true);
}

bool ClipSource::give_rendered_clip(const SourceEntry& source, ClipPlace& place) {
  if (place.clip > 0) return true;  // written before the run was stopped
  const std::optional<FrameActions> actions = read_actions(source, options_);
  const std::vector<media::Frame> frames = source.render();
  if (actions) check_num_actions(source, *actions, std::ssize(frames));
  ClipEvent event{.place = {place.entry, 0}, .pixels_FHWC = to_pixels(frames)};
  if (actions) event.actions = *actions;
  place.clip = 1;
  return push(place.entry, std::move(event), false);
}

bool ClipSource::give_video_clips(const SourceEntry& source, ClipPlace& place) {
  const std::optional<FrameActions> actions = read_actions(source, options_);
  const int64_t first_frame = actions ? count_frames_before(source) : 0;
  media::VideoReader reader(source.video);
  const media::VideoInfo& info = reader.info();
  if (actions && info.num_frames_is_exact) check_num_actions(source, *actions, info.num_frames);
  if (source.start_sec > 0.0) reader.seek(source.start_sec);
  const Bucket bucket = choose_bucket(options_.buckets, info.height, info.width);
  media::ClipOptions clip_options{options_.fps, options_.num_frames, options_.clip_stride,
                                  place.clip, options_.max_clips};
  media::ClipSampler sampler(reader, clip_options, [bucket](const media::Frame& frame) {
    return media::resize_and_center_crop(frame, static_cast<int>(bucket.width),
                                         static_cast<int>(bucket.height));
  });
  while (std::optional<media::Clip> clip = sampler.next()) {
    ClipEvent event{.place = {place.entry, clip->index}, .pixels_FHWC = to_pixels(clip->frames)};
    if (actions)
      event.actions = take_actions(source, *actions, std::move(clip->source_indices), first_frame);
    if (!push(place.entry, std::move(event), false)) return false;
    place.clip = clip->index + 1;
  }
  if (place.clip == 0) {
    fail<DataError>(
        "{}: must have at least {} frames at {} fps, but has {}; use fewer --num-frames",
        source.video.string(), options_.num_frames, options_.fps, sampler.num_grid_frames());
  }
  return true;
}

bool ClipSource::push(int64_t entry, ClipEvent event, bool is_end) {
  std::unique_lock lock(mutex_);
  Stream& stream = streams_[entry];
  changed_.wait(lock, [&] { return stopping_ || stream.events.size() < kClipsAheadPerVideo; });
  stream.events.push_back(std::move(event));
  stream.ended = is_end;
  const bool go_on = !stopping_;
  lock.unlock();
  changed_.notify_all();
  return go_on;
}

std::optional<ClipEvent> ClipSource::next() {
  std::unique_lock lock(mutex_);
  if (next_to_give_ >= std::ssize(entries_)) return std::nullopt;
  changed_.wait(lock, [this] {
    const auto found = streams_.find(next_to_give_);
    return found != streams_.end() && !found->second.events.empty();
  });
  Stream& stream = streams_.at(next_to_give_);
  ClipEvent event = std::move(stream.events.front());
  stream.events.pop_front();
  const std::exception_ptr error = stream.events.empty() ? stream.error : nullptr;
  if (stream.events.empty() && stream.ended) {
    streams_.erase(next_to_give_);
    ++next_to_give_;
  }
  lock.unlock();
  changed_.notify_all();
  if (error) std::rethrow_exception(error);
  return event;
}

}  // namespace zoetrope
