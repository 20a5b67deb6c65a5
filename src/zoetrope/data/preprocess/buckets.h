// Training resolutions, and which of them a video goes to. Knows no video.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace zoetrope {

/// A resolution in pixels.
struct Bucket {
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const Bucket&) const = default;
};

/// `480x832,832x480` (height x width). Throws ConfigError for anything else and for sides that are
/// not positive multiples of `multiple_of`.
std::vector<Bucket> parse_buckets(std::string_view text, int64_t multiple_of);

/// The bucket whose aspect ratio is nearest to that of a `height` x `width` picture (on a
/// logarithmic scale); among equals the one whose area is nearest.
Bucket choose_bucket(const std::vector<Bucket>& buckets, int64_t height, int64_t width);

}  // namespace zoetrope
