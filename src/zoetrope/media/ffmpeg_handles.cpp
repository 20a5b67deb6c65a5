#include "zoetrope/media/ffmpeg_handles.h"

#include <algorithm>
#include <cstdarg>
#include <mutex>
#include <new>
#include <vector>

namespace zoetrope::media {
namespace {

constexpr size_t kMaxLogLines = 3;

// FFmpeg has one log callback for the whole process and calls it in the thread that works, so the
// buffer is the thread's.
std::vector<std::string>& log_lines() {
  thread_local std::vector<std::string> lines;
  return lines;
}

void collect_log_line(void* context, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR || log_lines().size() >= kMaxLogLines) return;
  char text[512];
  int print_prefix = 0;
  av_log_format_line2(context, level, format, arguments, text, sizeof(text), &print_prefix);
  std::string line = text;
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  auto& lines = log_lines();
  if (!line.empty() && std::find(lines.begin(), lines.end(), line) == lines.end()) {
    lines.push_back(std::move(line));
  }
}

}  // namespace

FrameHandle make_frame() {
  FrameHandle frame(av_frame_alloc());
  if (!frame) throw std::bad_alloc();
  return frame;
}

PacketHandle make_packet() {
  PacketHandle packet(av_packet_alloc());
  if (!packet) throw std::bad_alloc();
  return packet;
}

#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
const int32_t* display_matrix(const AVStream& stream) {
  const AVCodecParameters& codec = *stream.codecpar;
  const AVPacketSideData* data = av_packet_side_data_get(
      codec.coded_side_data, codec.nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data == nullptr ? nullptr : reinterpret_cast<const int32_t*>(data->data);
}
#else
const int32_t* display_matrix(const AVStream& stream) {
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr);
  return reinterpret_cast<const int32_t*>(data);
}
#endif

void start_collecting_ffmpeg_log() {
  static std::once_flag installed;
  std::call_once(installed, [] { av_log_set_callback(collect_log_line); });
  log_lines().clear();
}

std::string collected_ffmpeg_log() {
  std::string text;
  for (const std::string& line : log_lines()) text += (text.empty() ? "" : "; ") + line;
  return text;
}

std::string explain_ffmpeg_error(int error_code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error_code, text, sizeof(text));
  const std::string log = collected_ffmpeg_log();
  return log.empty() ? std::string(text) : std::string(text) + " (" + log + ")";
}

}  // namespace zoetrope::media
