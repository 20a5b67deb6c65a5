#include "zoetrope/media/orientation.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace zoetrope::media {

Orientation orientation_of(const int32_t* display_matrix) {
  const double a = display_matrix[0];
  const double b = display_matrix[1];
  const double c = display_matrix[3];
  const double d = display_matrix[4];
  if (a * d - b * c == 0.0) return {};
  if (std::abs(b) + std::abs(c) > std::abs(a) + std::abs(d)) return {true, c < 0.0, b < 0.0};
  return {false, a < 0.0, d < 0.0};
}

Frame turn_upright(const Frame& frame, const Orientation& orientation) {
  int width = frame.width;
  int height = frame.height;
  if (orientation.swaps_axes) std::swap(width, height);
  Frame upright(width, height);
  for (int y = 0; y < height; ++y) {
    uint8_t* target = upright.row(y);
    const int from_y = orientation.reverses_y ? height - 1 - y : y;
    for (int x = 0; x < width; ++x, target += 3) {
      const int from_x = orientation.reverses_x ? width - 1 - x : x;
      const uint8_t* source =
          orientation.swaps_axes ? frame.pixel(from_y, from_x) : frame.pixel(from_x, from_y);
      std::copy_n(source, 3, target);
    }
  }
  return upright;
}

}  // namespace zoetrope::media
