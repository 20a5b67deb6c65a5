#include "zoetrope/media/resize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

void normalize(std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
}

// Fixed-point numbers with `bits` after the point, rounded.
std::vector<int32_t> to_integers(const std::vector<double>& weights, int bits) {
  std::vector<int32_t> integers;
  integers.reserve(weights.size());
  for (double weight : weights) {
    integers.push_back(static_cast<int32_t>(std::lround(weight * (1 << bits))));
  }
  return integers;
}

// The triangle filter's weights for output position `index`, which sum to one.
std::vector<double> triangle_weights(int index, int source_size, double scale, int& first) {
  const double support = std::max(scale, 1.0);
  const double center = scale * (index + 0.5);
  first = std::max(static_cast<int>(std::lround(center - support)), 0);
  const int end = std::min(static_cast<int>(std::lround(center + support)), source_size);
  std::vector<double> weights;
  for (int position = first; position < end; ++position) {
    weights.push_back(std::max(0.0, 1.0 - std::abs((position - center + 0.5) / support)));
  }
  normalize(weights);
  return weights;
}

// As many bits as keep every weight within 16 bits.
int fitting_weight_bits(double largest_weight) {
  int bits = 0;
  while (bits < kMaxWeightBits && std::lround(largest_weight * (1 << (bits + 1))) < kMaxWeight) {
    ++bits;
  }
  return bits;
}

ResizeTable make_bilinear_table(int source_size, int target_size) {
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
  table.weight_bits = fitting_weight_bits(largest);
  for (size_t i = 0; i < weights.size(); ++i) {
    table.taps[i].weights = to_integers(weights[i], table.weight_bits);
  }
  return table;
}

double bicubic_filter(double distance) {
  constexpr double kSharpness = -0.5;
  const double x = std::abs(distance);
  if (x < 1.0) return ((kSharpness + 2.0) * x - (kSharpness + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kSharpness;
  return 0.0;
}

ResizeTable make_bicubic_table(int source_size, int target_size) {
  constexpr double kFilterRadius = 2.0;
  const double scale = static_cast<double>(source_size) / target_size;
  const double stretch = std::max(scale, 1.0);
  ResizeTable table;
  table.weight_bits = kMaxWeightBits;
  for (int i = 0; i < target_size; ++i) {
    const double center = scale * (i + 0.5);
    const double support = kFilterRadius * stretch;
    const int first = std::max(static_cast<int>(std::floor(center - support + 0.5)), 0);
    const int end = std::min(static_cast<int>(std::floor(center + support + 0.5)), source_size);
    std::vector<double> weights;
    for (int position = first; position < end; ++position) {
      weights.push_back(bicubic_filter((position - center + 0.5) / stretch));
    }
    normalize(weights);
    table.taps.push_back({first, to_integers(weights, table.weight_bits)});
  }
  return table;
}

Frame resize_rows(const Frame& source, const CropBox& box, const ResizeTable& table) {
  Frame target(static_cast<int>(table.taps.size()), box.height);
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

Frame resize_columns(const Frame& source, const ResizeTable& table) {
  const int height = static_cast<int>(table.taps.size());
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
  return resize_columns(resize_rows(source, box, make_bilinear_table(box.width, width)),
                        make_bilinear_table(box.height, height));
}

Frame resize_and_center_crop(const Frame& source, int width, int height) {
  return crop_and_resize(source, center_crop_box(source.width, source.height, width, height), width,
                         height);
}

Frame resize_bicubic(const Frame& source, int width, int height) {
  if (width < 1 || height < 1)
    fail("resize: the target must be at least 1x1, but is {}x{}", width, height);
  const CropBox whole{0, 0, source.width, source.height};
  return resize_columns(resize_rows(source, whole, make_bicubic_table(source.width, width)),
                        make_bicubic_table(source.height, height));
}

}  // namespace zoetrope::media
