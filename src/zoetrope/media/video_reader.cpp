#include "zoetrope/media/video_reader.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "zoetrope/base/error.h"
#include "zoetrope/media/ffmpeg_handles.h"
#include "zoetrope/media/pixel_format.h"

namespace zoetrope::media {
namespace fs = std::filesystem;
namespace {

constexpr const char* kContainers =
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,flv,asf,ogg,gif,mxf,dv,nut,rm,"
    "yuv4mpegpipe,wav,mp3,flac";
// A header's duration may be a little off; what is missing beyond this was cut off.
constexpr double kMissingFrames = 2.0;
constexpr double kMissingPart = 0.02;

FormatInputHandle open_container(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error))
    fail<DataError>("{}: must be a video file, but does not exist", path.string());
  if (fs::is_directory(path, error))
    fail<DataError>("{}: must be a video file, but is a folder", path.string());
  if (fs::is_regular_file(path, error) && fs::file_size(path) == 0) {
    fail<DataError>("{}: must be a video file, but is empty (0 bytes)", path.string());
  }
  AVDictionary* options = nullptr;
  // A playlist inside the data set must not reach for the network or for other files.
  av_dict_set(&options, "protocol_whitelist", "file", 0);
  av_dict_set(&options, "format_whitelist", kContainers, 0);
  AVFormatContext* raw = nullptr;
  const int opened =
      avformat_open_input(&raw, ("file:" + path.string()).c_str(), nullptr, &options);
  av_dict_free(&options);
  if (opened < 0) {
    fail<DataError>("{}: must be a video file, but cannot be opened: {}", path.string(),
                    explain_ffmpeg_error(opened));
  }
  FormatInputHandle format(raw);
  const int probed = avformat_find_stream_info(format.get(), nullptr);
  if (probed < 0) {
    fail<DataError>("{}: its streams cannot be read: {}", path.string(),
                    explain_ffmpeg_error(probed));
  }
  return format;
}

int find_video_stream(AVFormatContext& format, const fs::path& path) {
  const int index = av_find_best_stream(&format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  const bool is_cover_art =
      index >= 0 && (format.streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
  if (index < 0 || is_cover_art) {
    fail<DataError>("{}: must hold a video stream, but has none among its {} streams",
                    path.string(), format.nb_streams);
  }
  return index;
}

CodecHandle open_decoder(const AVStream& stream, const fs::path& path) {
  const AVCodec* decoder = avcodec_find_decoder(stream.codecpar->codec_id);
  if (decoder == nullptr) {
    fail<DataError>("{}: holds {} video, which this FFmpeg cannot decode", path.string(),
                    avcodec_get_name(stream.codecpar->codec_id));
  }
  CodecHandle codec(avcodec_alloc_context3(decoder));
  if (!codec) throw std::bad_alloc();
  int result = avcodec_parameters_to_context(codec.get(), stream.codecpar);
  // In the calling thread, so that what FFmpeg logs can be told apart by file.
  codec->thread_count = 1;
  codec->pkt_timebase = stream.time_base;
  if (result >= 0) result = avcodec_open2(codec.get(), decoder, nullptr);
  if (result < 0) {
    fail<DataError>("{}: its {} decoder cannot be opened: {}", path.string(), decoder->name,
                    explain_ffmpeg_error(result));
  }
  return codec;
}

VideoInfo read_info(AVFormatContext& format, AVStream& stream) {
  VideoInfo info;
  info.width = stream.codecpar->width;
  info.height = stream.codecpar->height;
  const AVRational rate = av_guess_frame_rate(&format, &stream, nullptr);
  if (rate.num > 0 && rate.den > 0) info.fps = av_q2d(rate);
  if (stream.avg_frame_rate.num > 0 && stream.avg_frame_rate.den > 0)
    info.fps = av_q2d(stream.avg_frame_rate);
  if (stream.duration != AV_NOPTS_VALUE) {
    info.duration_sec = static_cast<double>(stream.duration) * av_q2d(stream.time_base);
  } else if (format.duration != AV_NOPTS_VALUE) {
    info.duration_sec = static_cast<double>(format.duration) / AV_TIME_BASE;
  }
  info.num_frames_is_exact = stream.nb_frames > 0;
  info.num_frames =
      info.num_frames_is_exact ? stream.nb_frames : std::llround(info.duration_sec * info.fps);
  if (const int32_t* matrix = display_matrix(stream)) info.orientation = orientation_of(matrix);
  if (info.orientation.swaps_axes) std::swap(info.width, info.height);
  info.codec = avcodec_get_name(stream.codecpar->codec_id);
  return info;
}

}  // namespace

class VideoReader::Impl {
 public:
  explicit Impl(const fs::path& path) : path_(path) {
    start_collecting_ffmpeg_log();
    format_ = open_container(path);
    stream_ = format_->streams[find_video_stream(*format_, path)];
    for (unsigned i = 0; i < format_->nb_streams; ++i) {
      if (format_->streams[i] != stream_) format_->streams[i]->discard = AVDISCARD_ALL;
    }
    codec_ = open_decoder(*stream_, path);
    info_ = read_info(*format_, *stream_);
    // A container's overall duration may be that of its sound, and may count from zero.
    if (stream_->duration != AV_NOPTS_VALUE) {
      promised_sec_ = info_.duration_sec;
    } else if (format_->nb_streams == 1) {
      promised_sec_ = info_.duration_sec - std::max(0.0, static_cast<double>(start_timestamp()) *
                                                             av_q2d(stream_->time_base));
    }
  }

  bool next() {
    start_collecting_ffmpeg_log();
    if (!is_ahead_ && !decode_first()) return false;
    std::swap(shown_, ahead_);
    time_sec_ = ahead_sec_;
    if (at_end_) return false;
    at_end_ = !decode_ahead();
    const double average_sec = info_.fps > 0.0 ? 1.0 / info_.fps : 0.0;
    end_sec_ = at_end_ ? time_sec_ + average_sec : ahead_sec_;
    return true;
  }

  void copy_to(Frame& frame) {
    try {
      if (info_.orientation.is_upright()) {
        converter_.convert(*shown_, frame);
      } else {
        converter_.convert(*shown_, stored_);
        frame = turn_upright(stored_, info_.orientation);
      }
    } catch (const Error&) {
      std::throw_with_nested(
          DataError(fmt::format("{}: frame at {:.3f} s", path_.string(), time_sec_)));
    }
  }

  void seek(double time_sec) {
    start_collecting_ffmpeg_log();
    const auto timestamp = start_timestamp() + std::llround(time_sec / av_q2d(stream_->time_base));
    const int result =
        av_seek_frame(format_.get(), stream_->index, timestamp, AVSEEK_FLAG_BACKWARD);
    if (result < 0) {
      fail<DataError>("{}: cannot go to {:.3f} s: {}", path_.string(), time_sec,
                      explain_ffmpeg_error(result));
    }
    avcodec_flush_buffers(codec_.get());
    draining_ = false;
    was_sought_ = true;
    is_ahead_ = false;
    at_end_ = false;
    // Times are rounded to the container's ticks.
    sought_sec_ = time_sec - 0.5 * av_q2d(stream_->time_base);
  }

  const VideoInfo& info() const { return info_; }
  const fs::path& path() const { return path_; }
  double time_sec() const { return time_sec_; }
  double end_sec() const { return end_sec_; }

 private:
  int64_t start_timestamp() const {
    return stream_->start_time == AV_NOPTS_VALUE ? 0 : stream_->start_time;
  }

  double to_sec(int64_t timestamp) const {
    return static_cast<double>(timestamp - start_timestamp()) * av_q2d(stream_->time_base);
  }

  // Fills the look-ahead at the start of the file and after seek().
  bool decode_first() {
    is_ahead_ = true;
    at_end_ = !decode_ahead();
    while (!at_end_ && sought_sec_ && ahead_sec_ < *sought_sec_) at_end_ = !decode_ahead();
    return !at_end_;
  }

  bool decode_ahead() {
    while (true) {
      const int received = avcodec_receive_frame(codec_.get(), ahead_.get());
      if (received == AVERROR_EOF) {
        check_end();
        return false;
      }
      if (received >= 0) {
        accept_frame();
        return true;
      }
      if (received != AVERROR(EAGAIN)) fail_damaged(received);
      send_packet();
    }
  }

  // Gives the decoder one packet of our stream, or the end of the file.
  void send_packet() {
    const int read = read_packet();
    if (read == AVERROR_EOF) {
      draining_ = true;
    } else if (read < 0) {
      fail_damaged(read);
    }
    const int sent = avcodec_send_packet(codec_.get(), draining_ ? nullptr : packet_.get());
    av_packet_unref(packet_.get());
    if (sent < 0) fail_damaged(sent);
  }

  int read_packet() {
    while (true) {
      av_packet_unref(packet_.get());
      const int result = av_read_frame(format_.get(), packet_.get());
      if (result < 0)
        return format_->pb != nullptr && format_->pb->error < 0 ? format_->pb->error : result;
      if (packet_->stream_index != stream_->index) continue;
      if ((packet_->flags & AV_PKT_FLAG_CORRUPT) != 0) return AVERROR_INVALIDDATA;
      if (packet_->pts != AV_NOPTS_VALUE) {
        packets_end_sec_ = std::max(packets_end_sec_, to_sec(packet_->pts + packet_->duration));
      }
      return 0;
    }
  }

  void accept_frame() {
    if (ahead_->decode_error_flags != 0 || (ahead_->flags & AV_FRAME_FLAG_CORRUPT) != 0) {
      fail_damaged(AVERROR_INVALIDDATA);
    }
    const int64_t timestamp = ahead_->best_effort_timestamp;
    if (timestamp != AV_NOPTS_VALUE) {
      ahead_sec_ = to_sec(timestamp);
    } else if (num_frames_read_ > 0 && info_.fps > 0.0) {
      ahead_sec_ += 1.0 / info_.fps;
    }
    ++num_frames_read_;
  }

  void check_end() {
    if (num_frames_read_ == 0 && !was_sought_) {
      fail<DataError>("{}: must hold video frames, but has a {} stream without any", path_.string(),
                      info_.codec);
    }
    if (was_sought_) return;
    const double average_sec = info_.fps > 0.0 ? 1.0 / info_.fps : 0.0;
    const double tolerance_sec =
        std::max(kMissingFrames * average_sec, kMissingPart * info_.duration_sec);
    if (packets_end_sec_ + tolerance_sec >= promised_sec_) return;
    fail<DataError>(
        "{}: must last the {:.3f} s that its header promises, but ends after {} frames ({:.3f} s); "
        "is it cut off?",
        path_.string(), promised_sec_, num_frames_read_, packets_end_sec_);
  }

  [[noreturn]] void fail_damaged(int error_code) const {
    fail<DataError>("{}: is damaged or cut off after {} frames ({:.3f} s): {}", path_.string(),
                    num_frames_read_, ahead_sec_, explain_ffmpeg_error(error_code));
  }

  fs::path path_;
  FormatInputHandle format_;
  AVStream* stream_ = nullptr;
  CodecHandle codec_;
  FrameHandle shown_ = make_frame();
  FrameHandle ahead_ = make_frame();
  PacketHandle packet_ = make_packet();
  RgbConverter converter_;
  Frame stored_;  // as in the file, where that is not upright
  VideoInfo info_;
  double time_sec_ = 0.0;
  double end_sec_ = 0.0;
  double ahead_sec_ = 0.0;
  std::optional<double> sought_sec_;
  int64_t num_frames_read_ = 0;
  double promised_sec_ = 0.0;  // by the header; 0 where it says nothing of this stream
  double packets_end_sec_ = 0.0;
  bool draining_ = false;
  bool was_sought_ = false;
  bool is_ahead_ = false;  // ahead_ was filled
  bool at_end_ = false;    // there was nothing to fill it with
};

VideoReader::VideoReader(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader& VideoReader::operator=(VideoReader&&) noexcept = default;
const VideoInfo& VideoReader::info() const {
  return impl_->info();
}
const fs::path& VideoReader::path() const {
  return impl_->path();
}
bool VideoReader::next() {
  return impl_->next();
}
double VideoReader::time_sec() const {
  return impl_->time_sec();
}
double VideoReader::end_sec() const {
  return impl_->end_sec();
}
void VideoReader::copy_to(Frame& frame) {
  impl_->copy_to(frame);
}
void VideoReader::seek(double time_sec) {
  impl_->seek(time_sec);
}

std::vector<Frame> read_all_frames(const fs::path& path) {
  VideoReader reader(path);
  std::vector<Frame> frames;
  while (reader.next()) reader.copy_to(frames.emplace_back());
  return frames;
}

}  // namespace zoetrope::media
