// One picture in memory: 8-bit RGB, rows from the top, no padding. Knows no file and no tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace zoetrope::media {

/// An RGB24 picture. `rgb` holds height * width * 3 bytes, in the order row, column, channel.
struct Frame {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;

  Frame() = default;
  /// A black picture.
  Frame(int width_pixels, int height_pixels)
      : width(width_pixels), height(height_pixels), rgb(num_bytes(width_pixels, height_pixels)) {}

  static size_t num_bytes(int width, int height) {
    return static_cast<size_t>(width) * static_cast<size_t>(height) * 3;
  }
  size_t row_bytes() const { return static_cast<size_t>(width) * 3; }
  uint8_t* row(int y) { return rgb.data() + static_cast<size_t>(y) * row_bytes(); }
  const uint8_t* row(int y) const { return rgb.data() + static_cast<size_t>(y) * row_bytes(); }
  uint8_t* pixel(int x, int y) { return row(y) + static_cast<size_t>(x) * 3; }
  const uint8_t* pixel(int x, int y) const { return row(y) + static_cast<size_t>(x) * 3; }
  bool operator==(const Frame&) const = default;
};

}  // namespace zoetrope::media
