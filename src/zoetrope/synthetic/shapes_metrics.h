// Exact metrics of videos of the toy world: what is shown against what the caption asked for, how
// far the shape's path is from the world's physics, how much videos of one caption differ.
// Thresholds allow for the colours and edges that a small VAE gives; it is measured on
// reconstructions of true clips (tests/integration/cli/evaluate_command_test.cpp).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "zoetrope/synthetic/shapes_world.h"

namespace zoetrope {

/// What a video shows. Nothing where it cannot be told.
struct ShapesObservation {
  std::optional<size_t> color;
  std::optional<size_t> shape;
  std::optional<size_t> direction;  ///< over the first kNumStraightFrames
  /// Overlap (intersection over union) with each shape drawn at the same place, averaged over all
  /// frames; frames without a shape count as zero.
  std::array<double, kShapeNames.size()> overlaps{};
  std::vector<std::optional<Point>> path;  ///< the centre in each frame in which a shape is seen
  Point start;  ///< fitted to the first frames; of use only with a direction
};

/// Throws DataError when a frame has another size than the world.
ShapesObservation observe_shapes(const ShapesWorld& world, const std::vector<media::Frame>& frames);

/// What counts as the error of a place that is not known, in pixels: a quarter of the frame's
/// diagonal.
double unknown_place_error(const ShapesWorld& world);

/// Distance in pixels between the observed centre and where physics puts it, for each frame, from
/// the observed start and direction on; unknown_place_error() where no shape is seen, and in all
/// frames of a video without a direction.
std::vector<double> trajectory_errors(const ShapesWorld& world,
                                      const ShapesObservation& observation);

/// Averages over videos. Shares are from 0 to 1.
struct ShapesScores {
  int64_t num_videos = 0;
  double color_accuracy = 0.0;
  double shape_accuracy = 0.0;
  double direction_accuracy = 0.0;
  double shape_overlap = 0.0;  ///< with the shape that was asked for; tells sharp from smeared
  double visible = 0.0;        ///< frames that show a shape
  std::vector<double> trajectory_error;  ///< pixels, by frame
  /// Mean distance in pixels between the starts of two videos of one caption; none without such
  /// pairs.
  std::optional<double> diversity;

  /// Mean trajectory error of frames first to last - 1.
  double mean_trajectory_error(int64_t first, int64_t last) const;
};

class ShapesScorer {
 public:
  explicit ShapesScorer(ShapesWorld world) : world_(world) {}
  /// A video that was asked to show `subject`. All must have the same number of frames.
  void add(const ShapesSubject& subject, const std::vector<media::Frame>& frames);
  ShapesScores scores() const;

 private:
  ShapesWorld world_;
  ShapesScores sums_;
  int64_t num_visible_frames_ = 0;
  std::map<std::string, std::vector<Point>> starts_;  ///< by caption
};

}  // namespace zoetrope
