// Periodic validation: videos sampled for fixed prompts from fixed noise, and the loss at fixed
// noise and timesteps. Source: FastVideo train/callbacks/validation.py (keys, file names).
#pragma once

#include <optional>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/callbacks/validation_loss.h"
#include "zoetrope/callbacks/validation_prompts.h"
#include "zoetrope/config/schema.h"
#include "zoetrope/networks/umt5/text_embedding.h"
#include "zoetrope/pipelines/video_generator.h"

namespace zoetrope {

struct ValidationConfig {
  std::string pipeline_target = "fastvideo.pipelines.basic.wan.wan_pipeline.WanPipeline";
  std::string dataset_file;
  int64_t every_steps = 100;
  bool run_at_start = true;
  std::vector<int64_t> sampling_steps = {40};
  std::optional<double> guidance_scale;
  std::optional<int64_t> num_frames;
  int64_t num_videos_per_prompt = 1;
  std::optional<std::string> output_dir;
  double fps = 16.0;
  std::string sampler = "unipc";
  std::string negative_prompt = kWanNegativePrompt;
  std::optional<DataSources> loss_data_path;
  int64_t loss_num_samples = 8;
  int64_t loss_num_timestep_bins = 4;
  static void describe(config::Schema<ValidationConfig>& schema);
};

/// Runs with the averaged weights once there are any. Writes
/// `validation_step_<step>_inference_steps_<n>_rank_0_video_ <i>.mp4` and one contact sheet PNG per
/// pass into the output folder, and logs them and the losses.
class ValidationCallback : public Callback {
 public:
  ValidationCallback(const ValidationConfig& config, const CallbackContext& context);
  void on_validation_begin(RunState& run) override;

 private:
  bool due(int64_t step) const;
  void sample_videos(RunState& run, int64_t num_steps);
  VideoOptions video_options(int64_t num_steps) const;

  ValidationConfig config_;
  CallbackContext context_;
  std::vector<ValidationPrompt> prompts_;
  ValidationLoss loss_;
  std::optional<VideoGenerator> generator_;
};

}  // namespace zoetrope
