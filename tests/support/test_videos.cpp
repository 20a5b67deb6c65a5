#include "support/test_videos.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <numeric>
#include <stdexcept>

#include "zoetrope/media/ffmpeg_handles.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
}

namespace zoetrope::test {
namespace {

void check(int result) {
  if (result < 0) throw std::runtime_error("test video: " + media::explain_ffmpeg_error(result));
}

struct PlaneContent {
  int value;
  int corner_value;  // of the top left quarter
  int bit_depth;
};

void fill_plane(AVFrame& picture, int plane, const PlaneContent& content) {
  const auto* descriptor = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(picture.format));
  const bool is_chroma = plane > 0;
  const int height =
      is_chroma ? AV_CEIL_RSHIFT(picture.height, descriptor->log2_chroma_h) : picture.height;
  const int width =
      is_chroma ? AV_CEIL_RSHIFT(picture.width, descriptor->log2_chroma_w) : picture.width;
  for (int y = 0; y < height; ++y) {
    uint8_t* row = picture.data[plane] + static_cast<ptrdiff_t>(y) * picture.linesize[plane];
    for (int x = 0; x < width; ++x) {
      const int value = 2 * x < width && 2 * y < height ? content.corner_value : content.value;
      if (content.bit_depth == 8) {
        row[x] = static_cast<uint8_t>(value);
      } else {
        const auto deep = static_cast<uint16_t>(value << (content.bit_depth - 8));
        std::memcpy(row + static_cast<ptrdiff_t>(x) * 2, &deep, 2);
      }
    }
  }
}

media::FrameHandle make_picture(const TestVideo& video, AVPixelFormat format, int luma) {
  media::FrameHandle picture = media::make_frame();
  picture->format = format;
  picture->width = video.width;
  picture->height = video.height;
  check(av_frame_get_buffer(picture.get(), 0));
  const auto* descriptor = av_pix_fmt_desc_get(format);
  for (int plane = 0; plane < descriptor->nb_components; ++plane) {
    const int depth = descriptor->comp[0].depth;
    fill_plane(*picture, plane,
               plane == 0 ? PlaneContent{luma, luma + video.corner_luma, depth}
                          : PlaneContent{128, 128, depth});
  }
  return picture;
}

void drain(AVCodecContext& encoder, AVFormatContext& format) {
  const media::PacketHandle packet = media::make_packet();
  while (avcodec_receive_packet(&encoder, packet.get()) >= 0) {
    packet->stream_index = 0;
    if (encoder.time_base.den == encoder.framerate.num) packet->duration = 1;
    av_packet_rescale_ts(packet.get(), encoder.time_base, format.streams[0]->time_base);
    check(av_interleaved_write_frame(&format, packet.get()));
  }
}

media::CodecHandle open_encoder(const TestVideo& video, AVPixelFormat format) {
  const AVCodec* codec = avcodec_find_encoder_by_name(video.codec.c_str());
  if (codec == nullptr) throw std::runtime_error("no encoder " + video.codec);
  media::CodecHandle encoder(avcodec_alloc_context3(codec));
  encoder->width = video.width;
  encoder->height = video.height;
  encoder->pix_fmt = format;
  encoder->time_base = {1, video.constant_rate ? video.fps : 1000};
  encoder->framerate = {video.fps, 1};
  encoder->color_range = video.full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  encoder->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
  check(avcodec_open2(encoder.get(), codec, nullptr));
  return encoder;
}

void add_display_matrix(AVStream& stream, const TestVideo& video) {
  if (video.rotation_degrees == 0 && !video.mirrored) return;
  int32_t matrix[9];
  av_display_rotation_set(matrix, video.rotation_degrees);
  av_display_matrix_flip(matrix, video.mirrored ? 1 : 0, 0);
  uint8_t* data = av_stream_new_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, sizeof(matrix));
  std::memcpy(data, matrix, sizeof(matrix));
}

}  // namespace

void make_test_video(const std::filesystem::path& path, const TestVideo& video) {
  media::start_collecting_ffmpeg_log();
  const AVPixelFormat pixel_format = av_get_pix_fmt(video.pixel_format.c_str());
  AVFormatContext* format = nullptr;
  check(avformat_alloc_output_context2(&format, nullptr, video.container.c_str(), path.c_str()));
  AVStream* stream = avformat_new_stream(format, nullptr);
  const media::CodecHandle encoder = open_encoder(video, pixel_format);
  check(avcodec_parameters_from_context(stream->codecpar, encoder.get()));
  stream->time_base = encoder->time_base;
  add_display_matrix(*stream, video);
  check(avio_open(&format->pb, path.c_str(), AVIO_FLAG_WRITE));
  AVDictionary* settings = nullptr;
  if (video.faststart) av_dict_set(&settings, "movflags", "faststart", 0);
  check(avformat_write_header(format, &settings));
  av_dict_free(&settings);
  for (size_t i = 0; i < video.times_msec.size(); ++i) {
    const media::FrameHandle picture = make_picture(video, pixel_format, video.luma[i]);
    picture->pts = video.constant_rate ? static_cast<int64_t>(i) : video.times_msec[i];
    check(avcodec_send_frame(encoder.get(), picture.get()));
    drain(*encoder, *format);
  }
  avcodec_send_frame(encoder.get(), nullptr);
  drain(*encoder, *format);
  check(av_write_trailer(format));
  avio_closep(&format->pb);
  avformat_free_context(format);
}

TestVideo brightening(int count, int fps, int step) {
  TestVideo video;
  video.fps = fps;
  for (int i = 0; i < count; ++i) {
    video.times_msec.push_back(std::llround(1000.0 * i / fps));
    video.luma.push_back(20 + step * i);
  }
  return video;
}

void make_wav(const std::filesystem::path& path) {
  constexpr uint32_t kSampleRate = 8000;
  std::ofstream stream(path, std::ios::binary);
  const auto put = [&](uint32_t value, int num_bytes) {
    stream.write(reinterpret_cast<const char*>(&value), num_bytes);
  };
  stream << "RIFF";
  put(36 + kSampleRate, 4);
  stream << "WAVEfmt ";
  put(16, 4);
  put(1, 2);
  put(1, 2);
  put(kSampleRate, 4);
  put(kSampleRate, 4);
  put(1, 2);
  put(8, 2);
  stream << "data";
  put(kSampleRate, 4);
  stream << std::string(kSampleRate, '\x80');
}

media::Frame moving_square(int width, int height, int index) {
  media::Frame frame(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = frame.pixel(x, y);
      pixel[0] = static_cast<uint8_t>(40 + 120 * x / width);
      pixel[1] = static_cast<uint8_t>(60 + 120 * y / height);
      pixel[2] = 90;
      const int left = (4 * index) % (width / 2);
      if (x >= left && x < left + width / 4 && y >= height / 4 && y < height / 2) {
        pixel[0] = 220;
        pixel[1] = 40;
        pixel[2] = 30;
      }
    }
  }
  return frame;
}

double mean_byte(const media::Frame& frame) {
  return std::accumulate(frame.rgb.begin(), frame.rgb.end(), 0.0) /
         static_cast<double>(frame.rgb.size());
}

double psnr_db(const media::Frame& a, const media::Frame& b) {
  if (a.rgb.size() != b.rgb.size()) throw std::runtime_error("pictures differ in size");
  double sum = 0.0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    const double difference = static_cast<double>(a.rgb[i]) - b.rgb[i];
    sum += difference * difference;
  }
  return 10.0 * std::log10(255.0 * 255.0 * static_cast<double>(a.rgb.size()) / std::max(sum, 1e-9));
}

}  // namespace zoetrope::test
