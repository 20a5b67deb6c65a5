// The toy world of shapes: one coloured shape on a dark ground moves at two pixels a frame and
// bounces off invisible walls, and a caption says what it is and where it goes at first. All about
// a clip follows from the seed and its index, so that generated videos can be measured exactly.
// Knows no file and no network.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "zoetrope/media/frame.h"

namespace zoetrope {

/// In pixels; x to the right, y down, (0, 0) is the frame's corner.
struct Point {
  double x = 0.0;
  double y = 0.0;
};

struct ShapeColor {
  std::string_view name;
  std::array<uint8_t, 3> rgb;
};

// Hues far apart: a small VAE moves them by 20 to 40 degrees.
inline constexpr std::array<ShapeColor, 4> kShapeColors = {{{"red", {230, 30, 50}},
                                                            {"yellow", {240, 230, 40}},
                                                            {"blue", {40, 70, 240}},
                                                            {"white", {235, 235, 235}}}};
inline constexpr std::array<std::string_view, 3> kShapeNames = {"square", "circle", "triangle"};
inline constexpr uint8_t kShapesGround = 20;  ///< grey level of the ground

struct ShapeDirection {
  std::string_view name;
  Point velocity;  ///< pixels a frame
};

inline constexpr std::array<ShapeDirection, 4> kShapeDirections = {
    {{"left", {-2.0, 0.0}}, {"right", {2.0, 0.0}}, {"up", {0.0, -2.0}}, {"down", {0.0, 2.0}}}};

/// What a clip shows: indices into the tables above.
struct ShapesSubject {
  size_t color = 0;
  size_t shape = 0;
  size_t direction = 0;

  std::string caption() const;  ///< such as "a red square moving left"
  bool operator==(const ShapesSubject&) const = default;
};

/// Every combination, 48.
std::vector<ShapesSubject> all_shapes_subjects();

class ShapesWorld {
 public:
  /// A shape goes straight on for at least so many frames, so that its direction can be told.
  static constexpr int64_t kNumStraightFrames = 5;

  /// Frames of height x width pixels. Throws ConfigError when a shape cannot move in them.
  ShapesWorld(int64_t height, int64_t width);

  int64_t height() const { return height_; }
  int64_t width() const { return width_; }
  /// Half the side of the square; the others have its area.
  double radius() const { return radius_; }
  /// The centre stays this far from the borders.
  double margin() const { return margin_; }

  /// Where the shape of clip `index` begins: uniform over the places that leave it
  /// kNumStraightFrames.
  Point start(const ShapesSubject& subject, int64_t seed, int64_t index) const;
  /// The centre in frames 0 to num_frames - 1.
  std::vector<Point> path(Point start, Point velocity, int64_t num_frames) const;
  /// How much of each pixel the shape covers, 0 to 1, row by row.
  std::vector<float> coverage(size_t shape, Point center) const;
  std::vector<media::Frame> render(const ShapesSubject& subject,
                                   const std::vector<Point>& path) const;

 private:
  int64_t height_;
  int64_t width_;
  double radius_;
  double margin_;
};

}  // namespace zoetrope
