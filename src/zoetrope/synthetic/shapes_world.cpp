#include "zoetrope/synthetic/shapes_world.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {
namespace {

constexpr double kRadiusShare = 7.0 / 48.0;  // of the shorter side
constexpr double kMarginRadii = 1.4;         // the triangle's tip is this far from its centre
constexpr int kSubpixels = 4;                // each way, for smooth edges

bool covers(size_t shape, double dx, double dy, double radius) {
  if (shape == 0) return std::abs(dx) <= radius && std::abs(dy) <= radius;
  if (shape == 1) return dx * dx + dy * dy <= radius * radius * 4.0 / std::numbers::pi;
  const double height = 2.0 * std::numbers::sqrt2 * radius;
  const double base = 8.0 * radius * radius / height;
  const double below_tip = dy + height * 2.0 / 3.0;
  return below_tip >= 0.0 && below_tip <= height && std::abs(dx) <= base / 2.0 * below_tip / height;
}

double start_coordinate(double low, double high, double velocity, double draw) {
  const double travel = velocity * static_cast<double>(ShapesWorld::kNumStraightFrames - 1);
  low = std::max(low, low - travel);
  high = std::min(high, high - travel);
  return low + draw * (high - low);
}

/// The coordinate after `distance` on a line that is folded at both walls.
double bounce(double start, double distance, double low, double high) {
  const double span = high - low;
  double along = std::fmod(start - low + distance, 2.0 * span);
  if (along < 0.0) along += 2.0 * span;
  return low + (along <= span ? along : 2.0 * span - along);
}

}  // namespace

std::string ShapesSubject::caption() const {
  return fmt::format("a {} {} moving {}", kShapeColors[color].name, kShapeNames[shape],
                     kShapeDirections[direction].name);
}

std::vector<ShapesSubject> all_shapes_subjects() {
  std::vector<ShapesSubject> subjects;
  for (size_t color = 0; color < kShapeColors.size(); ++color) {
    for (size_t shape = 0; shape < kShapeNames.size(); ++shape) {
      for (size_t direction = 0; direction < kShapeDirections.size(); ++direction) {
        subjects.push_back({color, shape, direction});
      }
    }
  }
  return subjects;
}

ShapesWorld::ShapesWorld(int64_t height, int64_t width)
    : height_(height),
      width_(width),
      radius_(kRadiusShare * static_cast<double>(std::min(height, width))),
      margin_(kMarginRadii * radius_) {
  const double room = static_cast<double>(std::min(height, width)) - 2.0 * margin_;
  const double travel = kShapeDirections[1].velocity.x * (kNumStraightFrames - 1);
  if (room <= travel) {
    fail<ConfigError>("synthetic:shapes: frames must be at least 24 x 24 pixels, but are {} x {}",
                      height, width);
  }
}

Point ShapesWorld::start(const ShapesSubject& subject, int64_t seed, int64_t index) const {
  const Point velocity = kShapeDirections[subject.direction].velocity;
  return {start_coordinate(margin_, static_cast<double>(width_) - margin_, velocity.x,
                           draw_uniform(seed, "shapes.start_x", index)),
          start_coordinate(margin_, static_cast<double>(height_) - margin_, velocity.y,
                           draw_uniform(seed, "shapes.start_y", index))};
}

std::vector<Point> ShapesWorld::path(Point start, Point velocity, int64_t num_frames) const {
  std::vector<Point> path;
  for (int64_t frame = 0; frame < num_frames; ++frame) {
    const auto time = static_cast<double>(frame);
    path.push_back(
        {bounce(start.x, velocity.x * time, margin_, static_cast<double>(width_) - margin_),
         bounce(start.y, velocity.y * time, margin_, static_cast<double>(height_) - margin_)});
  }
  return path;
}

std::vector<float> ShapesWorld::coverage(size_t shape, Point center) const {
  std::vector<float> coverage;
  coverage.reserve(static_cast<size_t>(height_ * width_));
  constexpr float kShare = 1.0F / (kSubpixels * kSubpixels);
  const auto offset = [](int part) { return (part + 0.5) / kSubpixels; };
  for (int64_t y = 0; y < height_; ++y) {
    for (int64_t x = 0; x < width_; ++x) {
      float covered = 0.0F;
      for (int row = 0; row < kSubpixels; ++row) {
        for (int column = 0; column < kSubpixels; ++column) {
          const double dx = static_cast<double>(x) + offset(column) - center.x;
          const double dy = static_cast<double>(y) + offset(row) - center.y;
          if (covers(shape, dx, dy, radius_)) covered += kShare;
        }
      }
      coverage.push_back(covered);
    }
  }
  return coverage;
}

std::vector<media::Frame> ShapesWorld::render(const ShapesSubject& subject,
                                              const std::vector<Point>& path) const {
  const std::array<uint8_t, 3>& color = kShapeColors[subject.color].rgb;
  std::vector<media::Frame> frames;
  for (const Point& center : path) {
    media::Frame frame(static_cast<int>(width_), static_cast<int>(height_));
    const std::vector<float> covered = coverage(subject.shape, center);
    for (size_t pixel = 0; pixel < covered.size(); ++pixel) {
      for (size_t channel = 0; channel < 3; ++channel) {
        const float level = std::lerp(static_cast<float>(kShapesGround),
                                      static_cast<float>(color[channel]), covered[pixel]);
        frame.rgb[pixel * 3 + channel] = static_cast<uint8_t>(std::lround(level));
      }
    }
    frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace zoetrope
