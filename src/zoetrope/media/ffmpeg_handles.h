// Owning handles of FFmpeg's C objects, its log and error texts, and what differs between its
// versions (4.4 to 8). Only this folder's .cpp files
// include this.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
}

namespace zoetrope::media {

struct FormatInputDeleter {
  void operator()(AVFormatContext* format) const { avformat_close_input(&format); }
};
struct CodecDeleter {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
struct FrameDeleter {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct PacketDeleter {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct ScalerDeleter {
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
};
using FormatInputHandle = std::unique_ptr<AVFormatContext, FormatInputDeleter>;
using CodecHandle = std::unique_ptr<AVCodecContext, CodecDeleter>;
using FrameHandle = std::unique_ptr<AVFrame, FrameDeleter>;
using PacketHandle = std::unique_ptr<AVPacket, PacketDeleter>;
using ScalerHandle = std::unique_ptr<SwsContext, ScalerDeleter>;

/// New empty objects. They throw std::bad_alloc when memory is out.
FrameHandle make_frame();
PacketHandle make_packet();

/// The stream's display matrix (orientation.h), or null when it has none.
const int32_t* display_matrix(const AVStream& stream);

/// Sends FFmpeg's log lines of this thread to a small buffer from now on (nothing reaches the
/// console), and empties that buffer. Call it before work whose failure is to be explained.
void start_collecting_ffmpeg_log();

/// `Invalid data found when processing input (moov atom not found)`: FFmpeg's text for
/// `error_code`, and the error lines that this thread's FFmpeg calls logged since
/// start_collecting_ffmpeg_log.
std::string explain_ffmpeg_error(int error_code);

/// The error lines alone, joined with `; `; empty when there were none.
std::string collected_ffmpeg_log();

}  // namespace zoetrope::media
