// Periodic validation: videos sampled for fixed prompts from fixed noise, and the loss at fixed
// noise and timesteps. Source: FastVideo train/callbacks/validation.py (keys, file names).
#pragma once

#include <functional>
#include <optional>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/callbacks/validation_config.h"
#include "zoetrope/callbacks/validation_loss.h"
#include "zoetrope/callbacks/video_requests.h"

namespace zoetrope {

/// Runs with the averaged weights once there are any. Writes
/// `validation_step_<step>_inference_steps_<n>_rank_0_video_<i>.mp4` and one contact sheet PNG per
/// pass into the output folder, and logs them and the losses.
class ValidationCallback : public Callback {
 public:
  ValidationCallback(const ValidationConfig& config, const CallbackContext& context);
  /// Throws ConfigError when the student cannot be sampled as the config asks.
  void on_train_start(RunState& run) override;
  void on_validation_begin(RunState& run) override;

 private:
  bool due(int64_t step) const;
  int64_t num_frames() const;
  const ValidationPrompt& prompt_of(int64_t video) const;
  void sample_videos(RunState& run, const SamplingOptions& sampling);
  /// Samples one video as the pipeline does.
  using Generate = std::function<VideoTiming(const VideoRequest&, const FrameSink&)>;
  Generate generate_with(ModelBase& student, const VideoOptions& options);
  VideoOptions video_options(const ModelBase& student, const SamplingOptions& sampling) const;

  ValidationConfig config_;
  CallbackContext context_;
  std::vector<ValidationPrompt> prompts_;
  ValidationLoss loss_;
  std::optional<VideoGenerator> generator_;
};

}  // namespace zoetrope
