#include "zoetrope/networks/conditioning_frames.h"

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

constexpr int64_t kPixelFramesPerLatent = 4;

at::Tensor narrow_if_defined(const at::Tensor& rows, int64_t first, int64_t num_rows) {
  return rows.defined() ? rows.narrow(1, first, num_rows) : at::Tensor();
}

}  // namespace

Conditioning frames_of(const Conditioning& clip, int64_t first, int64_t num_frames) {
  const int64_t first_pixel_frame = kPixelFramesPerLatent * first;
  const int64_t num_pixel_frames = kPixelFramesPerLatent * (num_frames - 1) + 1;
  Conditioning frames = clip;
  frames.image_latents_BTCHW = narrow_if_defined(clip.image_latents_BTCHW, first, num_frames);
  frames.keyboard_BFK = narrow_if_defined(clip.keyboard_BFK, first_pixel_frame, num_pixel_frames);
  frames.mouse_BF2 = narrow_if_defined(clip.mouse_BF2, first_pixel_frame, num_pixel_frames);
  return frames;
}

}  // namespace zoetrope
