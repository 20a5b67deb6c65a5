#include "zoetrope/synthetic/steering_world.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "zoetrope/tensor/random_source.h"

namespace zoetrope {
namespace {

int64_t draw_integer(int64_t seed, std::string_view purpose, int64_t index, int64_t num_values) {
  return static_cast<int64_t>(draw_uniform(seed, purpose, index) * static_cast<double>(num_values));
}

/// Keys of clip `index`: no key, or one of all, each for a random number of frames.
std::vector<HeldKey> draw_keys(int64_t seed, int64_t index, int64_t num_frames) {
  constexpr int64_t kNumHolds = SteeringWorld::kLongestHold - SteeringWorld::kShortestHold + 1;
  std::vector<HeldKey> keys;
  for (int64_t hold = 0; std::ssize(keys) < num_frames; ++hold) {
    const int64_t choice = draw_integer(seed, fmt::format("steering.key{}", hold), index,
                                        std::ssize(kSteeringKeys) + 1);
    const int64_t length =
        SteeringWorld::kShortestHold +
        draw_integer(seed, fmt::format("steering.hold{}", hold), index, kNumHolds);
    keys.insert(keys.end(), static_cast<size_t>(length),
                choice == 0 ? HeldKey() : static_cast<size_t>(choice - 1));
  }
  keys.resize(static_cast<size_t>(num_frames));
  return keys;
}

}  // namespace

std::string SteeringClip::caption() const {
  return fmt::format("a {} {}", kShapeColors[color].name, kShapeNames[shape]);
}

SteeringClip SteeringWorld::clip(int64_t seed, int64_t index, int64_t num_frames) const {
  const auto place = static_cast<size_t>(index);
  const double margin = shapes_.margin();
  const auto coordinate = [&](std::string_view purpose, int64_t side) {
    return std::lerp(margin, static_cast<double>(side) - margin,
                     draw_uniform(seed, purpose, index));
  };
  const Point start{coordinate("steering.start_x", shapes_.width()),
                    coordinate("steering.start_y", shapes_.height())};
  SteeringClip clip;
  clip.color = place % kShapeColors.size();
  clip.shape = place / kShapeColors.size() % kShapeNames.size();
  clip.keys = draw_keys(seed, index, num_frames);
  clip.path = path(start, clip.keys);
  return clip;
}

std::vector<Point> SteeringWorld::path(Point start, const std::vector<HeldKey>& keys) const {
  const double margin = shapes_.margin();
  std::vector<Point> path;
  Point center = start;
  for (const HeldKey& key : keys) {
    path.push_back(center);
    if (!key) continue;
    const Point velocity = kSteeringKeys[*key].velocity;
    center.x =
        std::clamp(center.x + velocity.x, margin, static_cast<double>(shapes_.width()) - margin);
    center.y =
        std::clamp(center.y + velocity.y, margin, static_cast<double>(shapes_.height()) - margin);
  }
  return path;
}

double SteeringWorld::room(Point center, size_t key) const {
  const double margin = shapes_.margin();
  const Point velocity = kSteeringKeys[key].velocity;
  if (velocity.x < 0.0) return center.x - margin;
  if (velocity.x > 0.0) return static_cast<double>(shapes_.width()) - margin - center.x;
  if (velocity.y < 0.0) return center.y - margin;
  return static_cast<double>(shapes_.height()) - margin - center.y;
}

std::vector<media::Frame> SteeringWorld::render(const SteeringClip& clip) const {
  return shapes_.render({clip.color, clip.shape}, clip.path);
}

}  // namespace zoetrope
