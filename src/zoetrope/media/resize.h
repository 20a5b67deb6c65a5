// Fits pictures to a size with the bytes that others get from the same picture. For training
// resolutions: a centred crop to the target's aspect ratio, then an antialiased bilinear resize as
// in FastVideo's preprocessing (fastvideo/dataset/transform.py, CenterCropResizeVideo, on PyTorch's
// 8-bit resize with aligned corners). For image encoders: Pillow's antialiased bicubic resize.
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

/// The whole picture resized to `width` x `height` with Pillow's bicubic filter (a = -0.5), as wide
/// as the reduction; first along rows, then along columns, rounded to bytes between. The same bytes
/// as Pillow's, but that Pillow 13 takes columns first for some pictures that get lower, which
/// changes a few levels. Throws Error when a target side is under 1 pixel.
Frame resize_bicubic(const Frame& source, int width, int height);

}  // namespace zoetrope::media
