#include "zoetrope/media/resize.h"

#include <algorithm>
#include <cmath>

#include "zoetrope/base/error.h"

namespace zoetrope::media {
namespace {

constexpr int kChannels = 3;
constexpr int kMaxWeightBits = 22;
constexpr int kMaxWeight = 1 << 15;

// What one output position reads: source positions first, first + 1, ... with one weight each.
struct Taps {
  int first = 0;
  std::vector<int32_t> weights;
};

struct ResizeTable {
  std::vector<Taps> taps;
  int weight_bits = 0;

  uint8_t to_byte(int32_t sum) const {
    return static_cast<uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
  }
  int32_t half() const { return 1 << (weight_bits - 1); }
};

// The triangle filter's weights for output position `index`, which sum to one.
std::vector<double> triangle_weights(int index, int source_size, double scale, int& first) {
  const double support = std::max(scale, 1.0);
  const double center = scale * (index + 0.5);
  first = std::max(static_cast<int>(std::lround(center - support)), 0);
  const int end = std::min(static_cast<int>(std::lround(center + support)), source_size);
  std::vector<double> weights;
  double sum = 0.0;
  for (int position = first; position < end; ++position) {
    weights.push_back(std::max(0.0, 1.0 - std::abs((position - center + 0.5) / support)));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

ResizeTable make_table(int source_size, int target_size) {
  // PyTorch's step for aligned corners. Under its half-pixel centres the picture drifts to the
  // right and down, by a pixel of the source at the far edge; kept, so that our data equals
  // FastVideo's.
  const double scale = static_cast<double>(source_size - 1) / (target_size - 1);
  ResizeTable table;
  table.taps.resize(static_cast<size_t>(target_size));
  std::vector<std::vector<double>> weights;
  double largest = 0.0;
  for (int i = 0; i < target_size; ++i) {
    weights.push_back(
        triangle_weights(i, source_size, scale, table.taps[static_cast<size_t>(i)].first));
    for (double weight : weights.back()) largest = std::max(largest, weight);
  }
  // As many bits as keep every weight within 16 bits.
  while (table.weight_bits < kMaxWeightBits &&
         std::lround(largest * (1 << (table.weight_bits + 1))) < kMaxWeight) {
    ++table.weight_bits;
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    for (double weight : weights[i]) {
      table.taps[i].weights.push_back(
          static_cast<int32_t>(std::lround(weight * (1 << table.weight_bits))));
    }
  }
  return table;
}

Frame resize_rows(const Frame& source, const CropBox& box, int width) {
  const ResizeTable table = make_table(box.width, width);
  Frame target(width, box.height);
  for (int y = 0; y < box.height; ++y) {
    const uint8_t* in = source.pixel(box.x, box.y + y);
    uint8_t* out = target.row(y);
    for (const Taps& taps : table.taps) {
      int32_t sums[kChannels] = {table.half(), table.half(), table.half()};
      const uint8_t* pixel = in + static_cast<ptrdiff_t>(taps.first) * kChannels;
      for (int32_t weight : taps.weights) {
        for (int c = 0; c < kChannels; ++c) sums[c] += weight * pixel[c];
        pixel += kChannels;
      }
      for (int32_t sum : sums) *out++ = table.to_byte(sum);
    }
  }
  return target;
}

Frame resize_columns(const Frame& source, int height) {
  const ResizeTable table = make_table(source.height, height);
  Frame target(source.width, height);
  std::vector<int32_t> sums(source.row_bytes());
  for (int y = 0; y < height; ++y) {
    const Taps& taps = table.taps[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), table.half());
    for (size_t tap = 0; tap < taps.weights.size(); ++tap) {
      const int32_t weight = taps.weights[tap];
      const uint8_t* in = source.row(taps.first + static_cast<int>(tap));
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += weight * in[i];
    }
    std::transform(sums.begin(), sums.end(), target.row(y),
                   [&](int32_t sum) { return table.to_byte(sum); });
  }
  return target;
}

}  // namespace

CropBox center_crop_box(int width, int height, int target_width, int target_height) {
  const double target_ratio = static_cast<double>(target_height) / target_width;
  CropBox box{0, 0, width, height};
  if (static_cast<double>(height) / width > target_ratio) {
    box.height = std::max(1, static_cast<int>(width * target_ratio));
  } else {
    box.width = std::max(1, static_cast<int>(height / target_ratio));
  }
  box.x = static_cast<int>(std::nearbyint((width - box.width) / 2.0));
  box.y = static_cast<int>(std::nearbyint((height - box.height) / 2.0));
  return box;
}

Frame crop_and_resize(const Frame& source, const CropBox& box, int width, int height) {
  if (width < 2 || height < 2)
    fail("resize: the target must be at least 2x2, but is {}x{}", width, height);
  const bool inside = box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 &&
                      box.x + box.width <= source.width && box.y + box.height <= source.height;
  if (!inside) {
    fail("resize: the crop must lie inside the {}x{} picture, but is {}x{} at ({}, {})",
         source.width, source.height, box.width, box.height, box.x, box.y);
  }
  return resize_columns(resize_rows(source, box, width), height);
}

Frame resize_and_center_crop(const Frame& source, int width, int height) {
  return crop_and_resize(source, center_crop_box(source.width, source.height, width, height), width,
                         height);
}

}  // namespace zoetrope::media
