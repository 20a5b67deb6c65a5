#include "zoetrope/media/image.h"

#include <algorithm>
#include <cstring>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/media/ffmpeg_handles.h"
#include "zoetrope/media/pixel_format.h"

namespace zoetrope::media {
namespace fs = std::filesystem;
namespace {

void check(int result, const char* what) {
  if (result < 0) fail("{} failed: {}", what, explain_ffmpeg_error(result));
}

CodecHandle allocate_codec(const AVCodec* codec, const char* name) {
  if (codec == nullptr) fail("this FFmpeg was built without its {} codec", name);
  CodecHandle context(avcodec_alloc_context3(codec));
  if (!context) throw std::bad_alloc();
  context->thread_count = 1;
  return context;
}

AVCodecID image_codec(const std::string& bytes) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return AV_CODEC_ID_PNG;
  if (bytes.starts_with("\xff\xd8\xff")) return AV_CODEC_ID_MJPEG;
  fail("must be a PNG or JPEG picture, but its {} bytes start like neither", bytes.size());
}

Frame decode_image(const std::string& bytes) {
  start_collecting_ffmpeg_log();
  const AVCodec* codec = avcodec_find_decoder(image_codec(bytes));
  const CodecHandle decoder = allocate_codec(codec, "PNG or JPEG");
  check(avcodec_open2(decoder.get(), codec, nullptr), "opening the decoder");
  const PacketHandle packet = make_packet();
  check(av_new_packet(packet.get(), static_cast<int>(bytes.size())), "decoding");
  std::memcpy(packet->data, bytes.data(), bytes.size());
  check(avcodec_send_packet(decoder.get(), packet.get()), "decoding");
  check(avcodec_send_packet(decoder.get(), nullptr), "decoding");
  const FrameHandle picture = make_frame();
  check(avcodec_receive_frame(decoder.get(), picture.get()), "decoding");
  // Both decoders conceal missing data and only log it.
  if (const std::string log = collected_ffmpeg_log(); !log.empty())
    fail("is damaged or cut off: {}", log);
  Frame frame;
  RgbConverter().convert(*picture, frame);
  return frame;
}

constexpr int kPadding = 4;

// The frame at place `column` of `columns` evenly spaced ones.
const Frame& spaced_frame(const std::vector<Frame>& video, int column, int columns) {
  if (columns == 1) return video.front();
  const size_t last = video.size() - 1;
  const auto steps = static_cast<size_t>(columns - 1);
  return video[(static_cast<size_t>(column) * last + steps / 2) / steps];
}

void paste(const Frame& source, Frame& target, int x, int y) {
  for (int row = 0; row < source.height; ++row) {
    std::copy_n(source.row(row), source.row_bytes(), target.pixel(x, y + row));
  }
}

}  // namespace

std::string encode_png(const Frame& frame) {
  start_collecting_ffmpeg_log();
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
  const CodecHandle encoder = allocate_codec(codec, "PNG");
  encoder->width = frame.width;
  encoder->height = frame.height;
  encoder->pix_fmt = AV_PIX_FMT_RGB24;
  encoder->time_base = {1, 1};
  check(avcodec_open2(encoder.get(), codec, nullptr), "opening the PNG encoder");
  const FrameHandle picture = make_frame();
  picture->format = AV_PIX_FMT_RGB24;
  picture->width = frame.width;
  picture->height = frame.height;
  check(av_frame_get_buffer(picture.get(), 0), "encoding a PNG");
  const int row_bytes = static_cast<int>(frame.row_bytes());
  av_image_copy_plane(picture->data[0], picture->linesize[0], frame.rgb.data(), row_bytes,
                      row_bytes, frame.height);
  check(avcodec_send_frame(encoder.get(), picture.get()), "encoding a PNG");
  check(avcodec_send_frame(encoder.get(), nullptr), "encoding a PNG");
  const PacketHandle packet = make_packet();
  check(avcodec_receive_packet(encoder.get(), packet.get()), "encoding a PNG");
  return {reinterpret_cast<const char*>(packet->data), static_cast<size_t>(packet->size)};
}

void write_png(const fs::path& path, const Frame& frame) {
  write_file_atomically(path, encode_png(frame));
}

Frame read_image(const fs::path& path) {
  const std::string bytes = read_file(path);
  try {
    return decode_image(bytes);
  } catch (const Error& error) {
    throw DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

Frame contact_sheet(const std::vector<std::vector<Frame>>& videos, int columns) {
  if (videos.empty() || columns < 1) {
    fail("contact sheet: must have a video and a column, but has {} videos and {} columns",
         videos.size(), columns);
  }
  size_t longest = 0;
  int cell_width = 0;
  int sheet_height = kPadding;
  for (size_t i = 0; i < videos.size(); ++i) {
    if (videos[i].empty()) fail("contact sheet: video {} must have frames, but has none", i);
    longest = std::max(longest, videos[i].size());
    cell_width = std::max(cell_width, videos[i].front().width);
    sheet_height += videos[i].front().height + kPadding;
  }
  columns = static_cast<int>(std::min<size_t>(static_cast<size_t>(columns), longest));
  Frame sheet(columns * (cell_width + kPadding) + kPadding, sheet_height);
  std::fill(sheet.rgb.begin(), sheet.rgb.end(), uint8_t{255});
  int y = kPadding;
  for (const auto& video : videos) {
    for (int column = 0; column < columns; ++column) {
      paste(spaced_frame(video, column, columns), sheet,
            kPadding + column * (cell_width + kPadding), y);
    }
    y += video.front().height + kPadding;
  }
  return sheet;
}

}  // namespace zoetrope::media
