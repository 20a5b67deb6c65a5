#include "zoetrope/media/video_writer.h"

#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/nearest.h"
#include "zoetrope/media/ffmpeg_handles.h"
#include "zoetrope/media/pixel_format.h"

namespace zoetrope::media {
namespace fs = std::filesystem;
namespace {

constexpr int kMaxFrameRateDenominator = 100000;
constexpr int kMaxCrf = 51;

const std::vector<std::string>& presets() {
  static const std::vector<std::string> names = {"ultrafast", "superfast", "veryfast", "faster",
                                                 "fast",      "medium",    "slow",     "slower",
                                                 "veryslow",  "placebo"};
  return names;
}

struct FormatOutputDeleter {
  void operator()(AVFormatContext* format) const {
    avio_closep(&format->pb);
    avformat_free_context(format);
  }
};
using FormatOutputHandle = std::unique_ptr<AVFormatContext, FormatOutputDeleter>;

void check_arguments(const fs::path& path, int width, int height,
                     const VideoWriterOptions& options) {
  if (width <= 0 || height <= 0 || width % 2 != 0 || height % 2 != 0) {
    fail(
        "{}: H.264 video must have even dimensions, but its frames are {}x{}; crop or pad them by "
        "a pixel",
        path.string(), width, height);
  }
  if (!std::isfinite(options.fps) || options.fps <= 0.0) {
    fail("{}: fps must be a positive number, but is {}", path.string(), options.fps);
  }
  if (options.crf < 0 || options.crf > kMaxCrf) {
    fail("{}: crf must be between 0 and {}, but is {}", path.string(), kMaxCrf, options.crf);
  }
  const auto& names = presets();
  if (std::find(names.begin(), names.end(), options.preset) == names.end()) {
    fail("{}: preset must be one of {}, but is '{}'{}", path.string(), fmt::join(names, ", "),
         options.preset, did_you_mean(options.preset, names));
  }
}

}  // namespace

class VideoWriter::Impl {
 public:
  Impl(const fs::path& path, int width, int height, const VideoWriterOptions& options)
      : path_(path), file_(path), width_(width), height_(height) {
    check_arguments(path, width, height, options);
    start_collecting_ffmpeg_log();
    converter_ = std::make_unique<Yuv420Converter>(width, height);
    open_container();
    open_encoder(options);
    open_file();
  }

  void write(const Frame& frame) {
    if (frame.width != width_ || frame.height != height_ ||
        frame.rgb.size() != Frame::num_bytes(width_, height_)) {
      fail("{}: frame {} must be {}x{}, but is {}x{} with {} bytes", path_.string(), num_frames_,
           width_, height_, frame.width, frame.height, frame.rgb.size());
    }
    start_collecting_ffmpeg_log();
    // The encoder may still hold the last picture's buffer.
    check(av_frame_make_writable(picture_.get()), "encoding");
    converter_->convert(frame, *picture_);
    picture_->pts = num_frames_++;
    check(avcodec_send_frame(encoder_.get(), picture_.get()), "encoding");
    write_packets();
  }

  void finish() {
    if (num_frames_ == 0)
      fail("{}: a video must have at least one frame, but has none", path_.string());
    start_collecting_ffmpeg_log();
    check(avcodec_send_frame(encoder_.get(), nullptr), "encoding");
    write_packets();
    check(av_write_trailer(format_.get()), "writing");
    avio_flush(format_->pb);
    check(format_->pb->error, "writing");
    check(avio_closep(&format_->pb), "writing");
    file_.commit();
  }

 private:
  void check(int result, const char* activity) const {
    if (result < 0)
      fail("{}: {} failed: {}", path_.string(), activity, explain_ffmpeg_error(result));
  }

  void open_container() {
    AVFormatContext* raw = nullptr;
    check(avformat_alloc_output_context2(&raw, nullptr, "mp4", nullptr), "making an mp4 container");
    format_.reset(raw);
    stream_ = avformat_new_stream(format_.get(), nullptr);
    if (stream_ == nullptr) throw std::bad_alloc();
  }

  void open_encoder(const VideoWriterOptions& options) {
    const AVCodec* codec = avcodec_find_encoder_by_name("libx264");
    if (codec == nullptr)
      fail("{}: writing video needs an FFmpeg with libx264, but this one has none", path_.string());
    encoder_.reset(avcodec_alloc_context3(codec));
    if (!encoder_) throw std::bad_alloc();
    const AVRational rate = av_d2q(options.fps, kMaxFrameRateDenominator);
    encoder_->width = width_;
    encoder_->height = height_;
    encoder_->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder_->framerate = rate;
    encoder_->time_base = av_inv_q(rate);
    encoder_->color_range = AVCOL_RANGE_MPEG;
    encoder_->colorspace = AVCOL_SPC_SMPTE170M;
    encoder_->color_primaries = AVCOL_PRI_SMPTE170M;
    encoder_->color_trc = AVCOL_TRC_SMPTE170M;
    encoder_->thread_count = 1;  // the same bytes on every machine
    encoder_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary* settings = nullptr;
    av_dict_set(&settings, "preset", options.preset.c_str(), 0);
    av_dict_set_int(&settings, "crf", options.crf, 0);
    const int opened = avcodec_open2(encoder_.get(), codec, &settings);
    av_dict_free(&settings);
    check(opened, "opening the H.264 encoder");
    check(avcodec_parameters_from_context(stream_->codecpar, encoder_.get()),
          "opening the H.264 encoder");
    stream_->time_base = encoder_->time_base;
    stream_->avg_frame_rate = rate;
    picture_->format = AV_PIX_FMT_YUV420P;
    picture_->width = width_;
    picture_->height = height_;
    check(av_frame_get_buffer(picture_.get(), 0), "encoding");
  }

  void open_file() {
    const std::string url = "file:" + file_.temporary().string();
    check(avio_open(&format_->pb, url.c_str(), AVIO_FLAG_WRITE), "creating the file");
    // The index goes to the front by reading the file again, under the name that the muxer is told.
    format_->url = av_strdup(url.c_str());
    AVDictionary* settings = nullptr;
    av_dict_set(&settings, "movflags", "faststart", 0);
    const int result = avformat_write_header(format_.get(), &settings);
    av_dict_free(&settings);
    check(result, "writing");
  }

  void write_packets() {
    while (true) {
      const int received = avcodec_receive_packet(encoder_.get(), packet_.get());
      if (received == AVERROR(EAGAIN) || received == AVERROR_EOF) return;
      check(received, "encoding");
      packet_->stream_index = stream_->index;
      packet_->duration = 1;
      av_packet_rescale_ts(packet_.get(), encoder_->time_base, stream_->time_base);
      check(av_interleaved_write_frame(format_.get(), packet_.get()), "writing");
    }
  }

  fs::path path_;
  AtomicFile file_;
  int width_;
  int height_;
  std::unique_ptr<Yuv420Converter> converter_;
  CodecHandle encoder_;
  FormatOutputHandle format_;
  AVStream* stream_ = nullptr;
  FrameHandle picture_ = make_frame();
  PacketHandle packet_ = make_packet();
  int64_t num_frames_ = 0;
};

VideoWriter::VideoWriter(const fs::path& path, int width, int height,
                         const VideoWriterOptions& options)
    : impl_(std::make_unique<Impl>(path, width, height, options)) {}
VideoWriter::~VideoWriter() = default;
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter& VideoWriter::operator=(VideoWriter&&) noexcept = default;
void VideoWriter::write(const Frame& frame) {
  impl_->write(frame);
}
void VideoWriter::finish() {
  impl_->finish();
}

void write_video(const fs::path& path, const std::vector<Frame>& frames,
                 const VideoWriterOptions& options) {
  if (frames.empty()) fail("{}: a video must have at least one frame, but has none", path.string());
  VideoWriter writer(path, frames.front().width, frames.front().height, options);
  for (const Frame& frame : frames) writer.write(frame);
  writer.finish();
}

}  // namespace zoetrope::media
