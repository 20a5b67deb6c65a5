// Between FFmpeg's pictures of any pixel format and RGB frames, through libswscale. Only this
// folder's .cpp files include this.
#pragma once

#include "zoetrope/media/ffmpeg_handles.h"
#include "zoetrope/media/frame.h"

namespace zoetrope::media {

/// Converts decoded pictures to RGB without changing their size. Honours the stream's colour matrix
/// and range; where the stream names no matrix, ITU-R BT.601, as FFmpeg's own tools. Keeps its
/// tables between calls.
class RgbConverter {
 public:
  /// Writes `source` to `target`, reusing its memory. Throws Error with FFmpeg's text.
  void convert(const AVFrame& source, Frame& target);

 private:
  void prepare(const AVFrame& source);

  ScalerHandle scaler_;
  FrameHandle padded_;  // libswscale may write past the end of unaligned rows
  int width_ = 0;
  int height_ = 0;
  int format_ = -1;
  int colorspace_ = -1;
  int color_range_ = -1;
};

/// Converts RGB frames to 4:2:0 with ITU-R BT.601 in limited range.
class Yuv420Converter {
 public:
  Yuv420Converter(int width, int height);
  /// Fills `target`, whose buffers are allocated already.
  void convert(const Frame& source, AVFrame& target);

 private:
  ScalerHandle scaler_;
  FrameHandle padded_;
};

}  // namespace zoetrope::media
