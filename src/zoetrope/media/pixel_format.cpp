#include "zoetrope/media/pixel_format.h"

#include <cstring>

#include "zoetrope/base/error.h"

namespace zoetrope::media {
namespace {

constexpr int kRowAlignment = 64;
constexpr int kScalerFlags =
    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
constexpr int kUnity = 1 << 16;  // libswscale's fixed-point 1.0 for contrast and saturation

// The yuvj formats are old names for "the same, in full range"; libswscale wants the two told
// apart.
AVPixelFormat without_range(AVPixelFormat format) {
  switch (format) {
    case AV_PIX_FMT_YUVJ420P:
      return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
      return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
      return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P:
      return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ411P:
      return AV_PIX_FMT_YUV411P;
    default:
      return format;
  }
}

FrameHandle make_padded_rgb(int width, int height) {
  FrameHandle frame = make_frame();
  frame->format = AV_PIX_FMT_RGB24;
  frame->width = width;
  frame->height = height;
  const int result = av_frame_get_buffer(frame.get(), kRowAlignment);
  if (result < 0) fail("a {}x{} picture: {}", width, height, explain_ffmpeg_error(result));
  return frame;
}

}  // namespace

void RgbConverter::prepare(const AVFrame& source) {
  if (scaler_ && source.width == width_ && source.height == height_ && source.format == format_ &&
      source.colorspace == colorspace_ && source.color_range == color_range_) {
    return;
  }
  width_ = source.width;
  height_ = source.height;
  format_ = source.format;
  colorspace_ = source.colorspace;
  color_range_ = source.color_range;
  const auto stored_format = static_cast<AVPixelFormat>(format_);
  const AVPixelFormat format = without_range(stored_format);
  scaler_.reset(sws_getContext(width_, height_, format, width_, height_, AV_PIX_FMT_RGB24,
                               kScalerFlags, nullptr, nullptr, nullptr));
  if (!scaler_) {
    const char* name = av_get_pix_fmt_name(stored_format);
    fail("pixel format {}: cannot be converted to RGB at {}x{}", name ? name : "unknown", width_,
         height_);
  }
  const bool full_range = color_range_ == AVCOL_RANGE_JPEG || format != stored_format;
  const int* matrix = sws_getCoefficients(
      colorspace_ == AVCOL_SPC_UNSPECIFIED ? SWS_CS_ITU601 : static_cast<int>(colorspace_));
  // Refused for inputs that are RGB already, where it has nothing to set.
  sws_setColorspaceDetails(scaler_.get(), matrix, full_range ? 1 : 0,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, kUnity, kUnity);
  padded_ = make_padded_rgb(width_, height_);
}

void RgbConverter::convert(const AVFrame& source, Frame& target) {
  prepare(source);
  const int rows = sws_scale(scaler_.get(), source.data, source.linesize, 0, source.height,
                             padded_->data, padded_->linesize);
  if (rows != source.height) fail("conversion to RGB stopped: {}", explain_ffmpeg_error(rows));
  target.width = source.width;
  target.height = source.height;
  target.rgb.resize(Frame::num_bytes(target.width, target.height));
  av_image_copy_plane(target.rgb.data(), static_cast<int>(target.row_bytes()), padded_->data[0],
                      padded_->linesize[0], static_cast<int>(target.row_bytes()), target.height);
}

Yuv420Converter::Yuv420Converter(int width, int height)
    : scaler_(sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, AV_PIX_FMT_YUV420P,
                             kScalerFlags, nullptr, nullptr, nullptr)),
      padded_(make_padded_rgb(width, height)) {
  if (!scaler_) fail("a {}x{} picture cannot be converted to 4:2:0", width, height);
  const int* matrix = sws_getCoefficients(SWS_CS_ITU601);
  sws_setColorspaceDetails(scaler_.get(), matrix, 1, matrix, 0, 0, kUnity, kUnity);
}

void Yuv420Converter::convert(const Frame& source, AVFrame& target) {
  const int row_bytes = static_cast<int>(source.row_bytes());
  av_image_copy_plane(padded_->data[0], padded_->linesize[0], source.rgb.data(), row_bytes,
                      row_bytes, source.height);
  const int rows = sws_scale(scaler_.get(), padded_->data, padded_->linesize, 0, source.height,
                             target.data, target.linesize);
  if (rows != source.height) fail("conversion to 4:2:0 stopped: {}", explain_ffmpeg_error(rows));
}

}  // namespace zoetrope::media
