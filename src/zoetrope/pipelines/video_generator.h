// From prompts to videos with the components of one pipeline folder; the network itself is passed
// in. Used by validation and by `zoetrope sample`.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "zoetrope/media/frame.h"
#include "zoetrope/networks/umt5/text_embedding.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"
#include "zoetrope/pipelines/wan_pipeline.h"

namespace zoetrope {

struct VideoRequest {
  std::string prompt;
  int64_t noise_index = 0;  ///< names the video's noise together with the seed
};

struct VideoOptions {
  int64_t num_frames = 81;
  int64_t num_height = 480;  ///< pixels
  int64_t num_width = 832;   ///< pixels
  int64_t seed = 0;
  std::string negative_prompt = kWanNegativePrompt;
  SamplingOptions sampling;
};

class VideoGenerator {
 public:
  /// Loads the VAE of `pipeline_folder` in fp32. The text encoder is loaded when prompts are new,
  /// and freed again. Throws CheckpointError as the components do.
  VideoGenerator(std::filesystem::path pipeline_folder, at::Device device);

  /// Frames of one video for `request`: the same request, options and weights give the same frames.
  /// `progress` counts sampling steps.
  std::vector<media::Frame> generate(const VelocityFunction& velocity, const VideoRequest& request,
                                     const VideoOptions& options,
                                     const SamplingProgress& progress = {});
  /// Embeds all of `prompts` that are new with one load of the text encoder.
  void prepare_prompts(const std::vector<std::string>& prompts);

 private:
  at::Tensor text_BLD(const std::string& prompt) const;

  std::filesystem::path pipeline_folder_;
  at::Device device_;
  WanVae vae_;
  std::map<std::string, at::Tensor> embeddings_;  ///< [L, D] by prompt
};

}  // namespace zoetrope
