#include "zoetrope/data/preprocess/buckets.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

std::optional<int64_t> parse_side(std::string_view text) {
  int64_t side = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), side);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return side;
}

Bucket parse_bucket(std::string_view text, int64_t multiple_of) {
  const size_t cross = std::min(text.find('x'), text.size());
  const std::optional<int64_t> height = parse_side(text.substr(0, cross));
  const std::optional<int64_t> width = parse_side(text.substr(std::min(cross + 1, text.size())));
  if (!height || !width) {
    fail<ConfigError>("bucket: must be HEIGHTxWIDTH in pixels, such as 480x832, but got '{}'",
                      text);
  }
  for (const int64_t side : {*height, *width}) {
    if (side < 1 || side % multiple_of != 0) {
      fail<ConfigError>(
          "bucket '{}': height and width must be positive multiples of {}, but got {}", text,
          multiple_of, side);
    }
  }
  return {*height, *width};
}

double log_ratio(int64_t height, int64_t width) {
  return std::log(static_cast<double>(height) / static_cast<double>(width));
}

}  // namespace

std::vector<Bucket> parse_buckets(std::string_view text, int64_t multiple_of) {
  std::vector<Bucket> buckets;
  for (;;) {
    const size_t comma = text.find(',');
    buckets.push_back(parse_bucket(text.substr(0, comma), multiple_of));
    if (comma == std::string_view::npos) return buckets;
    text.remove_prefix(comma + 1);
  }
}

Bucket choose_bucket(const std::vector<Bucket>& buckets, int64_t height, int64_t width) {
  const auto distance = [&](const Bucket& bucket) {
    const double ratio =
        std::abs(log_ratio(bucket.height, bucket.width) - log_ratio(height, width));
    const double area = std::abs(std::log(static_cast<double>(bucket.height * bucket.width)) -
                                 std::log(static_cast<double>(height * width)));
    return std::pair(std::round(ratio * 1e9), area);
  };
  return *std::ranges::min_element(buckets, {}, distance);
}

}  // namespace zoetrope
