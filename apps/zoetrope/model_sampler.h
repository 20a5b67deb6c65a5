// A pipeline folder that samples videos as one pipeline kind does, with the command-line options
// that say how. Shared by `zoetrope sample` and `zoetrope evaluate`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "zoetrope/callbacks/video_requests.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"
#include "zoetrope/sample_options.h"

namespace zoetrope {

struct ModelSamplerOptions {
  std::string model;  ///< pipeline folder, or Hugging Face name in the local cache
  std::string device = "auto";
  std::string dtype = "fp32";
  SampleChoices choices;
  VideoOptions video;
};

/// Adds --pipeline and the options that say how it samples.
void add_pipeline_options(CLI::App& command, SampleChoices& choices);

/// Adds MODEL and all options but the prompts to `command`.
void add_model_sampler_options(CLI::App& command, ModelSamplerOptions& options);

class ModelSampler {
 public:
  /// Loads the transformer and the VAE. Throws ConfigError for options that do not fit each other,
  /// CheckpointError as the components do.
  explicit ModelSampler(const ModelSamplerOptions& options);

  /// Embeds all of `prompts` with one load of the text encoder.
  void prepare_prompts(std::vector<std::string> prompts);
  /// Hands the frames of one video to `sink`; `progress` counts sampling steps.
  VideoTiming sample(const VideoRequest& request, const FrameSink& sink,
                     const SamplingProgress& progress = {});
  const VideoOptions& video() const { return video_; }
  /// What the network takes.
  VideoInputs inputs() const;

 private:
  ModelSampler(const ModelSamplerOptions& options, const std::filesystem::path& folder,
               at::Device device);

  VideoOptions video_;
  WanTransformer transformer_;
  VideoGenerator generator_;
  std::function<VideoTiming(const VideoRequest& request, const FrameSink& sink,
                            const SamplingProgress& progress)>
      generate_;
};

}  // namespace zoetrope
