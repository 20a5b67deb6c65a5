#include "zoetrope/synthetic/steering_metrics.h"

#include <algorithm>
#include <cmath>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

// Of a step; less is no motion. A small VAE shows the last of the four frames of a latent late.
constexpr double kSmallestStep = 0.25;

double step_length(size_t key) {
  const Point velocity = kSteeringKeys[key].velocity;
  return std::hypot(velocity.x, velocity.y);
}

void add_steps(std::vector<ObeyedSteps>& sums, const std::vector<ObeyedSteps>& steps) {
  sums.resize(steps.size());
  for (size_t step = 0; step < steps.size(); ++step) sums[step] = sums[step] + steps[step];
}

}  // namespace

ObeyedSteps ObeyedSteps::operator+(const ObeyedSteps& other) const {
  return {num_judged + other.num_judged, num_obeyed + other.num_obeyed};
}

double ObeyedSteps::share() const {
  return num_judged == 0 ? 0.0 : static_cast<double>(num_obeyed) / static_cast<double>(num_judged);
}

HeldKey shown_key(Point travel) {
  size_t nearest = 0;
  double furthest = 0.0;
  for (size_t key = 0; key < kSteeringKeys.size(); ++key) {
    const Point velocity = kSteeringKeys[key].velocity;
    const double along = (velocity.x * travel.x + velocity.y * travel.y) / step_length(key);
    if (along > furthest) {
      furthest = along;
      nearest = key;
    }
  }
  if (furthest < kSmallestStep * step_length(nearest)) return {};
  return nearest;
}

std::vector<ObeyedSteps> judge_steps(const SteeringWorld& world, const std::vector<HeldKey>& keys,
                                     const std::vector<std::optional<Point>>& path) {
  std::vector<ObeyedSteps> steps;
  for (size_t frame = 0; frame + 1 < path.size(); ++frame) {
    const HeldKey& key = keys[frame];
    const std::optional<Point>& from = path[frame];
    const std::optional<Point>& to = path[frame + 1];
    if (!from || !to) {
      steps.push_back({1, 0});
    } else if (key && world.room(*from, *key) < step_length(*key)) {
      steps.push_back({0, 0});
    } else {
      const bool obeyed = shown_key({to->x - from->x, to->y - from->y}) == key;
      steps.push_back({1, obeyed ? 1 : 0});
    }
  }
  return steps;
}

void SteeringScorer::add(const SteeringClip& clip, const std::vector<media::Frame>& frames) {
  const size_t expected = videos_.empty() ? clip.path.size() : videos_.front().clip.path.size();
  if (frames.size() != expected || clip.path.size() != expected) {
    fail<DataError>("synthetic:steering: all videos must have {} frames, but one has {}", expected,
                    frames.size());
  }
  videos_.push_back({clip, observe_shapes(world_.shapes(), frames)});
}

SteeringScores SteeringScorer::scores() const {
  SteeringScores scores;
  scores.num_videos = std::ssize(videos_);
  const auto num_videos = static_cast<double>(std::max<size_t>(1, videos_.size()));
  int64_t same_color = 0;
  int64_t same_shape = 0;
  int64_t seen_frames = 0;
  int64_t frames = 0;
  for (size_t index = 0; index < videos_.size(); ++index) {
    const auto& [clip, seen] = videos_[index];
    const SteeringClip& other = videos_[(index + 1) % videos_.size()].clip;
    add_steps(scores.obeyed, judge_steps(world_, clip.keys, seen.path));
    add_steps(scores.obeyed_shuffled, judge_steps(world_, other.keys, seen.path));
    same_color += seen.color == clip.color ? 1 : 0;
    same_shape += seen.shape == clip.shape ? 1 : 0;
    frames += std::ssize(clip.path);
    scores.shape_overlap += seen.overlaps[clip.shape] / num_videos;
    scores.position_error.resize(clip.path.size());
    for (size_t frame = 0; frame < clip.path.size(); ++frame) {
      const std::optional<Point>& center = seen.path[frame];
      const Point truth = clip.path[frame];
      scores.position_error[frame] += (center ? std::hypot(center->x - truth.x, center->y - truth.y)
                                              : unknown_place_error(world_.shapes())) /
                                      num_videos;
      if (center) ++seen_frames;
    }
  }
  scores.color_accuracy = static_cast<double>(same_color) / num_videos;
  scores.shape_accuracy = static_cast<double>(same_shape) / num_videos;
  scores.visible =
      static_cast<double>(seen_frames) / static_cast<double>(std::max<int64_t>(1, frames));
  return scores;
}

}  // namespace zoetrope
