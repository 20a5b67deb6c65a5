// The config of the validation callback. Source: FastVideo train/callbacks/validation.py (keys).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "zoetrope/config/schema.h"
#include "zoetrope/data/data_config.h"
#include "zoetrope/networks/umt5/text_embedding.h"

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
  std::optional<std::vector<int64_t>> sampling_timesteps;
  std::optional<bool> warp_denoising_step;
  std::string negative_prompt = kWanNegativePrompt;
  std::optional<DataSources> loss_data_path;
  int64_t loss_num_samples = 8;
  int64_t loss_num_timestep_bins = 4;
  static void describe(config::Schema<ValidationConfig>& schema);
};

}  // namespace zoetrope
