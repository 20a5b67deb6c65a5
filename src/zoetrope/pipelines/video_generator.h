// From prompts, pictures and actions to videos with the components of one pipeline folder; the
// network itself is passed in. Used by validation and by `zoetrope sample`. Legend: F pixel frames,
// K keys.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "zoetrope/media/frame.h"
#include "zoetrope/networks/umt5/text_embedding.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"
#include "zoetrope/pipelines/causal_pipeline.h"
#include "zoetrope/pipelines/first_frame_encoder.h"
#include "zoetrope/pipelines/wan_pipeline.h"

namespace zoetrope {

struct VideoRequest {
  std::string prompt;
  int64_t noise_index = 0;  ///< names the video's noise together with the seed
  /// What the video begins with, in its size, for a network that takes an image.
  std::optional<media::Frame> first_frame = std::nullopt;
  // Actions for each pixel frame, for a network that takes them, or undefined.
  at::Tensor keyboard_FK = {};
  at::Tensor mouse_F2 = {};
};

struct VideoOptions {
  int64_t num_frames = 81;
  int64_t num_height = 480;  ///< pixels
  int64_t num_width = 832;   ///< pixels
  int64_t seed = 0;
  std::string negative_prompt = kWanNegativePrompt;
  SamplingOptions sampling;
  bool has_text = true;  ///< false for a network without text: prompts are not embedded
};

/// Takes frames in their order, some at a time.
using FrameSink = std::function<void(const std::vector<media::Frame>& frames)>;

/// How fast a video came, from its first network call on; what the sink does with the frames is
/// included, embedding the prompt is not.
struct VideoTiming {
  int64_t num_frames = 0;
  double first_frame_sec = 0.0;  ///< until the first frames were decoded
  double total_sec = 0.0;

  double frames_per_sec() const {
    return total_sec > 0.0 ? static_cast<double>(num_frames) / total_sec : 0.0;
  }
};

class VideoGenerator {
 public:
  /// Loads the VAE of `pipeline_folder` in fp32. The text encoder is loaded when prompts are new,
  /// and freed again. Throws CheckpointError as the components do.
  VideoGenerator(std::filesystem::path pipeline_folder, at::Device device);
  VideoGenerator(const VideoGenerator&) = delete;  // the first frame's encoder points to the VAE
  VideoGenerator& operator=(const VideoGenerator&) = delete;

  /// Hands the frames of one video for `request` to `sink`, all at once: the same request, options
  /// and weights give the same frames. `progress` counts sampling steps. Throws DataError for a
  /// first frame of another size than the video's and for actions of another number of frames.
  VideoTiming generate(const DenoisingNetwork& network, const VideoRequest& request,
                       const VideoOptions& options, const FrameSink& sink,
                       const SamplingProgress& progress = {});
  /// The same for a causal network: the frames of each block as soon as they are decoded. Memory
  /// does not grow with the length of the video where the network's window is bounded.
  VideoTiming stream(const StreamingNetwork& network, const VideoRequest& request,
                     const VideoOptions& options, const FrameSink& sink,
                     const SamplingProgress& progress = {});

  /// Embeds all of `prompts` that are new with one load of the text encoder.
  void prepare_prompts(const std::vector<std::string>& prompts);
  /// Latent frames of a video. Throws DataError when the sizes do not fit the VAE.
  int64_t num_latent_frames(const VideoOptions& options) const;

 private:
  GuidedConditioning text_conditions(const VideoRequest& request, const VideoOptions& options);
  GuidedConditioning conditions(const VideoRequest& request, const VideoOptions& options);

  std::filesystem::path pipeline_folder_;
  at::Device device_;
  WanVae vae_;
  std::map<std::string, at::Tensor> embeddings_;          ///< [L, D] by prompt
  std::optional<FirstFrameEncoder> first_frame_encoder_;  ///< loaded with the first picture
};

}  // namespace zoetrope
