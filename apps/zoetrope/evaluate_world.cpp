#include "zoetrope/evaluate_world.h"

#include <algorithm>
#include <numeric>

#include "zoetrope/data/preprocess/synthetic_sources.h"
#include "zoetrope/synthetic/shapes_metrics.h"
#include "zoetrope/synthetic/steering_metrics.h"

namespace zoetrope {
namespace {

constexpr size_t kNumShown = 24;

/// `measure(first, last)` of every `segment` values of `num_values`.
template <class Measure>
std::vector<double> by_segment(int64_t num_values, int64_t segment, const Measure& measure) {
  std::vector<double> values;
  for (int64_t first = 0; first < num_values; first += segment) {
    values.push_back(measure(first, std::min(num_values, first + segment)));
  }
  return values;
}

double mean(const std::vector<double>& values, int64_t first, int64_t last) {
  return std::accumulate(values.begin() + first, values.begin() + last, 0.0) /
         static_cast<double>(last - first);
}

double obeyed_share(const std::vector<ObeyedSteps>& steps, int64_t first, int64_t last) {
  return std::accumulate(steps.begin() + first, steps.begin() + last, ObeyedSteps()).share();
}

}  // namespace

SampledVideos::SampledVideos(ModelSampler& sampler, int64_t num_videos)
    : sampler_(sampler), progress_("evaluate", num_videos, "videos") {}

const std::vector<media::Frame>& SampledVideos::next(const VideoRequest& request) {
  frames_.clear();
  sampler_.sample(request, [this](const std::vector<media::Frame>& decoded) {
    frames_.insert(frames_.end(), decoded.begin(), decoded.end());
  });
  if (shown_.size() < kNumShown) shown_.push_back(frames_);
  progress_.advance();
  return frames_;
}

std::vector<std::vector<media::Frame>> SampledVideos::finish() {
  progress_.finish();
  return std::move(shown_);
}

WorldEvaluation evaluate_shapes(const EvaluateOptions& options) {
  const VideoOptions& video = options.sampler.video;
  const std::vector<ShapesSubject> subjects = all_shapes_subjects();
  std::vector<std::string> captions;
  captions.reserve(subjects.size());
  for (const ShapesSubject& subject : subjects) captions.push_back(subject.caption());
  ShapesScorer scorer(ShapesWorld(video.num_height, video.num_width));
  ModelSampler sampler(options.sampler);
  sampler.prepare_prompts(captions);
  const auto num_videos = std::ssize(subjects) * options.videos_per_caption;
  SampledVideos videos(sampler, num_videos);
  for (int64_t index = 0; index < num_videos; ++index) {
    const size_t subject = static_cast<size_t>(index) % subjects.size();
    scorer.add(subjects[subject], videos.next({captions[subject], index}));
  }
  const ShapesScores scores = scorer.scores();
  WorldEvaluation evaluation;
  evaluation.summary = {
      {"num_videos", scores.num_videos},
      {"color_accuracy", scores.color_accuracy},
      {"shape_accuracy", scores.shape_accuracy},
      {"direction_accuracy", scores.direction_accuracy},
      {"shape_overlap", scores.shape_overlap},
      {"visible", scores.visible},
      {"trajectory_error", by_segment(std::ssize(scores.trajectory_error), options.segment_frames(),
                                      [&](int64_t first, int64_t last) {
                                        return scores.mean_trajectory_error(first, last);
                                      })}};
  if (scores.diversity) evaluation.summary["diversity"] = *scores.diversity;
  evaluation.by_frame = {{"trajectory_error_by_frame", scores.trajectory_error}};
  evaluation.shown = videos.finish();
  return evaluation;
}

WorldEvaluation evaluate_steering(const EvaluateOptions& options) {
  const VideoOptions& video = options.sampler.video;
  const SteeringWorld world(video.num_height, video.num_width);
  SteeringScorer scorer(world);
  ModelSampler sampler(options.sampler);
  const auto num_videos =
      std::ssize(kShapeColors) * std::ssize(kShapeNames) * options.videos_per_caption;
  SampledVideos videos(sampler, num_videos);
  for (int64_t index = 0; index < num_videos; ++index) {
    const SteeringClip clip = world.clip(options.clip_seed, index, video.num_frames);
    scorer.add(clip, videos.next({.prompt = clip.caption(),
                                  .noise_index = index,
                                  .first_frame = world.render(clip).front(),
                                  .keyboard_FK = steering_actions(clip).keyboard_FK}));
  }
  const SteeringScores scores = scorer.scores();
  const int64_t segment = options.segment_frames();
  const auto obeyed_in_segments = [&](const std::vector<ObeyedSteps>& steps) {
    return by_segment(std::ssize(steps), segment, [&](int64_t first, int64_t last) {
      return obeyed_share(steps, first, last);
    });
  };
  std::vector<double> obeyed_by_step;
  for (const ObeyedSteps& steps : scores.obeyed) obeyed_by_step.push_back(steps.share());
  const auto num_steps = std::ssize(scores.obeyed);
  WorldEvaluation evaluation;
  evaluation.summary = {
      {"num_videos", scores.num_videos},
      {"obeyed", obeyed_share(scores.obeyed, 0, num_steps)},
      {"obeyed_by_segment", obeyed_in_segments(scores.obeyed)},
      {"obeyed_shuffled", obeyed_share(scores.obeyed_shuffled, 0, num_steps)},
      {"color_accuracy", scores.color_accuracy},
      {"shape_accuracy", scores.shape_accuracy},
      {"shape_overlap", scores.shape_overlap},
      {"visible", scores.visible},
      {"position_error",
       by_segment(std::ssize(scores.position_error), segment, [&](int64_t first, int64_t last) {
         return mean(scores.position_error, first, last);
       })}};
  evaluation.by_frame = {{"obeyed_by_step", obeyed_by_step},
                         {"position_error_by_frame", scores.position_error}};
  evaluation.shown = videos.finish();
  return evaluation;
}

}  // namespace zoetrope
