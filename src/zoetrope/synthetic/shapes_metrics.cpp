#include "zoetrope/synthetic/shapes_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

// A pixel belongs to the shape from the first level on, and wholly from the second one on: levels
// of the brightest channel above the ground.
constexpr double kFaintest = 50.0;
constexpr double kFull = 130.0;
constexpr double kSmallestArea = 0.25;   // of a shape's, below which nothing is seen
constexpr double kLargestArea = 2.5;     // above which it is no shape
constexpr double kSmallestTravel = 2.0;  // pixels over the straight frames

double distance(Point a, Point b) {
  return std::hypot(a.x - b.x, a.y - b.y);
}

size_t index_of_largest(const auto& values) {
  return static_cast<size_t>(std::ranges::max_element(values) - values.begin());
}

/// The shape in one frame: how much of it each pixel holds, its centre and its area in pixels.
struct Silhouette {
  std::vector<double> weights;
  Point center;
  double area = 0.0;
};

Silhouette find_silhouette(const media::Frame& frame) {
  Silhouette found;
  Point sum;
  for (int y = 0; y < frame.height; ++y) {
    for (int x = 0; x < frame.width; ++x) {
      const uint8_t* pixel = frame.pixel(x, y);
      const double level = std::max({pixel[0], pixel[1], pixel[2]}) - double{kShapesGround};
      const double weight = std::clamp((level - kFaintest) / (kFull - kFaintest), 0.0, 1.0);
      found.weights.push_back(weight);
      found.area += weight;
      sum.x += weight * (x + 0.5);
      sum.y += weight * (y + 0.5);
    }
  }
  if (found.area > 0.0) found.center = {sum.x / found.area, sum.y / found.area};
  return found;
}

/// Overlap of the silhouette with each shape drawn at its centre: intersection over union.
std::array<double, kShapeNames.size()> shape_overlaps(const ShapesWorld& world,
                                                      const Silhouette& silhouette) {
  std::array<double, kShapeNames.size()> overlaps{};
  for (size_t shape = 0; shape < overlaps.size(); ++shape) {
    const std::vector<float> drawn = world.coverage(shape, silhouette.center);
    double common = 0.0;
    double either = 0.0;
    for (size_t pixel = 0; pixel < drawn.size(); ++pixel) {
      common += std::min<double>(drawn[pixel], silhouette.weights[pixel]);
      either += std::max<double>(drawn[pixel], silhouette.weights[pixel]);
    }
    overlaps[shape] = common / either;
  }
  return overlaps;
}

using Rgb = std::array<double, 3>;

Rgb mean_color(const media::Frame& frame, const Silhouette& silhouette) {
  Rgb color{};
  for (size_t pixel = 0; pixel < silhouette.weights.size(); ++pixel) {
    for (size_t channel = 0; channel < 3; ++channel) {
      color[channel] += silhouette.weights[pixel] *
                        (static_cast<double>(frame.rgb[pixel * 3 + channel]) - kShapesGround) /
                        silhouette.area;
    }
  }
  return color;
}

/// The table's colour at the smallest angle.
size_t nearest_color(const Rgb& color) {
  std::array<double, kShapeColors.size()> cosines{};
  for (size_t index = 0; index < cosines.size(); ++index) {
    Rgb known{};
    for (size_t channel = 0; channel < 3; ++channel) {
      known[channel] = static_cast<double>(kShapeColors[index].rgb[channel]) - kShapesGround;
    }
    cosines[index] = std::inner_product(color.begin(), color.end(), known.begin(), 0.0) /
                     std::sqrt(std::inner_product(known.begin(), known.end(), known.begin(), 0.0));
  }
  return index_of_largest(cosines);
}

/// Reads direction and start off the first frames; both need the shape at their two ends.
void observe_motion(ShapesObservation& observation) {
  const auto num_frames =
      std::min<int64_t>(ShapesWorld::kNumStraightFrames, std::ssize(observation.path));
  const auto& path = observation.path;
  if (num_frames < 2 || !path.front() || !path[static_cast<size_t>(num_frames) - 1]) return;
  const Point last = *path[static_cast<size_t>(num_frames) - 1];
  const Point travel{last.x - path.front()->x, last.y - path.front()->y};
  if (std::hypot(travel.x, travel.y) < kSmallestTravel) return;
  std::array<double, kShapeDirections.size()> along{};
  for (size_t index = 0; index < along.size(); ++index) {
    const Point velocity = kShapeDirections[index].velocity;
    along[index] = velocity.x * travel.x + velocity.y * travel.y;
  }
  observation.direction = index_of_largest(along);
  const Point velocity = kShapeDirections[*observation.direction].velocity;
  double num_seen = 0.0;
  Point sum;
  for (int64_t frame = 0; frame < num_frames; ++frame) {
    const std::optional<Point>& center = path[static_cast<size_t>(frame)];
    if (!center) continue;
    sum.x += center->x - velocity.x * static_cast<double>(frame);
    sum.y += center->y - velocity.y * static_cast<double>(frame);
    num_seen += 1.0;
  }
  observation.start = {sum.x / num_seen, sum.y / num_seen};
}

}  // namespace

ShapesObservation observe_shapes(const ShapesWorld& world,
                                 const std::vector<media::Frame>& frames) {
  const double full_area = 4.0 * world.radius() * world.radius();
  ShapesObservation observation;
  Rgb color{};
  int64_t num_seen = 0;
  for (const media::Frame& frame : frames) {
    if (frame.width != world.width() || frame.height != world.height()) {
      fail<DataError>("synthetic:shapes: frames must be {} x {} pixels, but one is {} x {}",
                      world.height(), world.width(), frame.height, frame.width);
    }
    const Silhouette silhouette = find_silhouette(frame);
    if (silhouette.area < kSmallestArea * full_area || silhouette.area > kLargestArea * full_area) {
      observation.path.emplace_back();
      continue;
    }
    ++num_seen;
    observation.path.emplace_back(silhouette.center);
    const auto frame_overlaps = shape_overlaps(world, silhouette);
    const Rgb frame_color = mean_color(frame, silhouette);
    for (size_t i = 0; i < frame_overlaps.size(); ++i) {
      observation.overlaps[i] += frame_overlaps[i] / static_cast<double>(frames.size());
    }
    for (size_t i = 0; i < color.size(); ++i) color[i] += frame_color[i];
  }
  observe_motion(observation);
  if (num_seen * 2 > std::ssize(frames)) {
    observation.color = nearest_color(color);
    observation.shape = index_of_largest(observation.overlaps);
  }
  return observation;
}

double unknown_place_error(const ShapesWorld& world) {
  return std::hypot(static_cast<double>(world.height()), static_cast<double>(world.width())) / 4.0;
}

std::vector<double> trajectory_errors(const ShapesWorld& world,
                                      const ShapesObservation& observation) {
  std::vector<double> errors(observation.path.size(), unknown_place_error(world));
  if (!observation.direction) return errors;
  const std::vector<Point> expected =
      world.path(observation.start, kShapeDirections[*observation.direction].velocity,
                 std::ssize(observation.path));
  for (size_t frame = 0; frame < errors.size(); ++frame) {
    if (observation.path[frame])
      errors[frame] = distance(*observation.path[frame], expected[frame]);
  }
  return errors;
}

double ShapesScores::mean_trajectory_error(int64_t first, int64_t last) const {
  return std::accumulate(trajectory_error.begin() + first, trajectory_error.begin() + last, 0.0) /
         static_cast<double>(last - first);
}

void ShapesScorer::add(const ShapesSubject& subject, const std::vector<media::Frame>& frames) {
  const ShapesObservation seen = observe_shapes(world_, frames);
  const std::vector<double> errors = trajectory_errors(world_, seen);
  if (sums_.num_videos > 0 && errors.size() != sums_.trajectory_error.size()) {
    fail<DataError>("synthetic:shapes: all videos must have {} frames, but one has {}",
                    sums_.trajectory_error.size(), errors.size());
  }
  sums_.trajectory_error.resize(errors.size());
  ++sums_.num_videos;
  sums_.color_accuracy += seen.color == subject.color ? 1.0 : 0.0;
  sums_.shape_accuracy += seen.shape == subject.shape ? 1.0 : 0.0;
  sums_.direction_accuracy += seen.direction == subject.direction ? 1.0 : 0.0;
  sums_.shape_overlap += seen.overlaps[subject.shape];
  for (size_t frame = 0; frame < errors.size(); ++frame) {
    sums_.trajectory_error[frame] += errors[frame];
    num_visible_frames_ += seen.path[frame] ? 1 : 0;
  }
  if (seen.direction) starts_[subject.caption()].push_back(seen.start);
}

ShapesScores ShapesScorer::scores() const {
  ShapesScores scores = sums_;
  const auto num_videos = static_cast<double>(std::max<int64_t>(1, sums_.num_videos));
  scores.color_accuracy /= num_videos;
  scores.shape_accuracy /= num_videos;
  scores.direction_accuracy /= num_videos;
  scores.shape_overlap /= num_videos;
  for (double& error : scores.trajectory_error) error /= num_videos;
  scores.visible =
      static_cast<double>(num_visible_frames_) /
      (num_videos * static_cast<double>(std::max<size_t>(1, scores.trajectory_error.size())));
  double sum = 0.0;
  double num_pairs = 0.0;
  for (const auto& [caption, starts] : starts_) {
    for (size_t first = 0; first < starts.size(); ++first) {
      for (size_t second = 0; second < first; ++second) {
        sum += distance(starts[first], starts[second]);
        num_pairs += 1.0;
      }
    }
  }
  if (num_pairs > 0.0) scores.diversity = sum / num_pairs;
  return scores;
}

}  // namespace zoetrope
