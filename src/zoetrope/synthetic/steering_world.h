// The toy world of shapes with a player: four keys move one coloured shape, which stands still
// while none is held and stops at invisible walls. The key of row f, held while frame f is shown,
// moves the shape on its way to frame f + 1: frames 4 i - 3 to 4 i, which latent frame i stands
// for, follow from rows before 4 i, as in the action window of Matrix-Game 2 (arXiv 2508.13009).
// All about a clip follows from the seed and its index. Knows no file and no network.
#pragma once

#include <optional>

#include "zoetrope/synthetic/shapes_world.h"

namespace zoetrope {

/// The keys in the order of Matrix-Game's W, S, A, D.
inline constexpr std::array<ShapeDirection, 4> kSteeringKeys = {
    kShapeDirections[2], kShapeDirections[3], kShapeDirections[0], kShapeDirections[1]};

/// An index into kSteeringKeys; nothing: no key is held.
using HeldKey = std::optional<size_t>;

struct SteeringClip {
  size_t color = 0;
  size_t shape = 0;
  std::vector<HeldKey> keys;  ///< by frame; the last frame's moves nothing any more
  std::vector<Point> path;    ///< the shape's centre by frame

  std::string caption() const;  ///< such as "a red square"
};

class SteeringWorld {
 public:
  // Frames that a key is held at least and at most.
  static constexpr int64_t kShortestHold = 4;
  static constexpr int64_t kLongestHold = 12;

  /// Frames of height x width pixels. Throws ConfigError when a shape cannot move in them.
  SteeringWorld(int64_t height, int64_t width) : shapes_(height, width) {}

  /// The world's pictures.
  const ShapesWorld& shapes() const { return shapes_; }

  /// Clip `index`: colours and shapes take turns; the start, the keys and how long they are held
  /// are uniform draws. A longer clip begins like a shorter one.
  SteeringClip clip(int64_t seed, int64_t index, int64_t num_frames) const;
  /// The centre in each frame.
  std::vector<Point> path(Point start, const std::vector<HeldKey>& keys) const;
  /// Pixels from `center` to the wall that `key` leads to.
  double room(Point center, size_t key) const;
  std::vector<media::Frame> render(const SteeringClip& clip) const;

 private:
  ShapesWorld shapes_;
};

}  // namespace zoetrope
