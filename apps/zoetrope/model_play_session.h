// A pipeline folder's causal model as something to play: from the pressed keys to the next frames.
#pragma once

#include <optional>
#include <string>

#include "zoetrope/networks/wan_transformer/wan_transformer.h"
#include "zoetrope/pipelines/first_frame_encoder.h"
#include "zoetrope/pipelines/live_stream.h"
#include "zoetrope/sample_options.h"
#include "zoetrope/serving/play_session.h"

namespace zoetrope {

struct PlayModelOptions {
  std::string model;   ///< pipeline folder, or Hugging Face name in the local cache
  std::string image;   ///< the first picture; empty for a model that takes none
  std::string prompt;  ///< for a model that takes text
  int num_height = 0;  ///< pixels; 0: the picture's
  int num_width = 0;   ///< pixels; 0: the picture's
  int64_t seed = 0;
  std::string device = "auto";
  std::string dtype = "fp32";
  SampleChoices choices;
};

/// What was asked for and fits the model, before anything is loaded.
struct PlayPlan {
  std::filesystem::path folder;
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  WanTransformerConfig network;
  CausalAttention attention;
  std::optional<media::Frame> picture;
  std::string prompt;
  LiveStreamOptions stream;
  int64_t seed = 0;

  /// Columns of the model's keyboard; 0 for a model without one.
  int64_t num_keys() const;
  bool has_mouse() const { return network.action && network.action->enable_mouse; }
  /// Latent frames whose positions the model knows; none where they go round.
  std::optional<int64_t> max_frames() const;
};

/// Throws ConfigError for options that do not fit the model or each other.
PlayPlan plan_play(const PlayModelOptions& options);

class ModelPlaySession : public PlaySession {
 public:
  /// Loads the model. Throws CheckpointError as its components do.
  explicit ModelPlaySession(PlayPlan plan);

  void restart() override;
  /// Where the positions that the model knows end, a new clip begins with the last frame.
  std::vector<media::Frame> next_frames(const PlayActions& actions) override;
  void prepare_next() override { stream_.commit(); }

 private:
  GuidedConditioning text_conditions() const;
  void begin_clip(const std::optional<media::Frame>& picture);
  BlockActions block_actions(const PlayActions& actions) const;

  PlayPlan plan_;
  WanTransformer transformer_;
  WanVae vae_;
  std::optional<FirstFrameEncoder> first_frame_encoder_;
  GuidedConditioning text_;
  LiveStream stream_;
  std::optional<media::Frame> last_frame_;  ///< that was shown
};

}  // namespace zoetrope
