// Samples a model in a toy world and measures the videos against its truth: what `zoetrope
// evaluate` does for each world.
#pragma once

#include <nlohmann/json.hpp>

#include "zoetrope/base/progress.h"
#include "zoetrope/model_sampler.h"

namespace zoetrope {

struct EvaluateOptions {
  ModelSamplerOptions sampler;
  int64_t videos_per_caption = 4;
  int64_t training_frames = 0;  ///< scores are given for every so many frames; 0: for all
  int64_t clip_seed = 1;        ///< of the steering world's first frames and keys

  int64_t segment_frames() const {
    return training_frames > 0 ? training_frames : sampler.video.num_frames;
  }
};

struct WorldEvaluation {
  nlohmann::json summary;
  nlohmann::json by_frame;  ///< lists of a value for each frame, too long to be printed
  std::vector<std::vector<media::Frame>> shown;  ///< some of the videos
};

/// Every caption of ShapesWorld.
WorldEvaluation evaluate_shapes(const EvaluateOptions& options);

/// First frames and keys of SteeringWorld's clips that `clip_seed` draws.
WorldEvaluation evaluate_steering(const EvaluateOptions& options);

/// Samples one video after another, and keeps the first ones to be shown.
class SampledVideos {
 public:
  SampledVideos(ModelSampler& sampler, int64_t num_videos);
  /// The frames of the next video.
  const std::vector<media::Frame>& next(const VideoRequest& request);
  std::vector<std::vector<media::Frame>> finish();

 private:
  ModelSampler& sampler_;
  Progress progress_;
  std::vector<media::Frame> frames_;
  std::vector<std::vector<media::Frame>> shown_;
};

}  // namespace zoetrope
