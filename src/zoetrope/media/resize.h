// Fits pictures to a training resolution: a centred crop to the target's aspect ratio, then an
// antialiased resize. The arithmetic is that of FastVideo's preprocessing
// (fastvideo/dataset/transform.py, CenterCropResizeVideo, on PyTorch's 8-bit bilinear resize with
// antialiasing and aligned corners), so the same frame gives the same bytes.
#pragma once

#include "zoetrope/media/frame.h"

namespace zoetrope::media {

/// A rectangle inside a picture, in pixels from its top left corner.
struct CropBox {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
  bool operator==(const CropBox&) const = default;
};

/// The largest centred rectangle of the picture that has the target's aspect ratio. Sizes are
/// rounded down, the offset to the nearest (ties to even).
CropBox center_crop_box(int width, int height, int target_width, int target_height);

/// The part of `source` inside `box`, resized to `width` x `height`: a triangle filter, as wide as
/// the reduction (so that nothing aliases) and one pixel wide when enlarging; first along rows,
/// then along columns. Throws Error when the box leaves the picture or a target side is under 2
/// pixels.
Frame crop_and_resize(const Frame& source, const CropBox& box, int width, int height);

/// center_crop_box, then crop_and_resize.
Frame resize_and_center_crop(const Frame& source, int width, int height);

}  // namespace zoetrope::media
