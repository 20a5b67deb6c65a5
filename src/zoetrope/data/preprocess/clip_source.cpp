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

void check_entry(const SourceEntry& entry) {
  if (entry.render) return;
  if (entry.captions.empty()) {
    fail<DataError>(
        "{}: must have a caption, but has none; put it into {} or into the list",
        entry.video.string(),
        std::filesystem::path(entry.video).replace_extension(".txt").filename().string());
  }
  if (!std::filesystem::exists(entry.video)) {
    fail<DataError>("{}: must be a video file, but does not exist", entry.video.string());
  }
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
  ClipEvent end{{entry, entry == first_.entry ? first_.clip : 0}, {}, ""};
  try {
    check_entry(source);
    if (source.render) {
      const ClipPlace place{entry, 0};
      if (!push(entry, {place, to_pixels(source.render()), ""}, false)) return;
      end.place.clip = 1;
      push(entry, std::move(end), true);
      return;
    }
    media::VideoReader reader(source.video);
    if (source.start_sec > 0.0) reader.seek(source.start_sec);
    const Bucket bucket =
        choose_bucket(options_.buckets, reader.info().height, reader.info().width);
    media::ClipOptions clip_options{options_.fps, options_.num_frames, options_.clip_stride,
                                    end.place.clip, options_.max_clips};
    media::ClipSampler sampler(reader, clip_options, [bucket](const media::Frame& frame) {
      return media::resize_and_center_crop(frame, static_cast<int>(bucket.width),
                                           static_cast<int>(bucket.height));
    });
    while (std::optional<media::Clip> clip = sampler.next()) {
      if (!push(entry, {{entry, clip->index}, to_pixels(clip->frames), ""}, false)) return;
      end.place.clip = clip->index + 1;
    }
    if (end.place.clip == 0) {
      fail<DataError>(
          "{}: must have at least {} frames at {} fps, but has {}; use fewer --num-frames",
          source.video.string(), options_.num_frames, options_.fps, sampler.num_grid_frames());
    }
  } catch (const Error& error) {
    end.fault = describe_error_chain(error);
  } catch (const std::exception&) {
    const std::lock_guard lock(mutex_);
    streams_[entry].error = std::current_exception();
  }
  push(entry, std::move(end), true);
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
