// Pipeline folders in Diffusers layout with random weights, in named sizes: for tests, benchmarks
// and training from scratch. Sizes are those of the published config.json files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <c10/core/ScalarType.h>

#include "zoetrope/networks/clip_vision/clip_image_processor.h"
#include "zoetrope/networks/clip_vision/clip_vision_encoder.h"
#include "zoetrope/networks/umt5/umt5_encoder.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/networks/wan_vae/wan_vae_config.h"

namespace zoetrope {

struct PipelineSize {
  std::string name;
  std::string doc;
  WanTransformerConfig transformer;
  WanVaeConfig vae;
  Umt5Config text_encoder;
  double flow_shift = 3.0;
  std::optional<ClipVisionConfig> image_encoder = {};  ///< of image-to-video pipelines
};

/// `tiny`, `tiny-i2v`, `wan2.1-t2v-1.3b`, `wan2.1-t2v-14b`, `wan2.1-i2v-14b`, `tiny-game`,
/// `tiny-keyboard-game`, `matrix-game-2`.
const std::vector<PipelineSize>& pipeline_sizes();

struct RandomPipelineOptions {
  int64_t seed = 0;
  c10::ScalarType dtype = c10::ScalarType::BFloat16;
  std::vector<std::string> components = {"transformer",
                                         "vae"};  ///< with weights; `text_encoder` and
                                                  ///< `image_encoder` are the others
};

/// Writes `folder`: model_index.json, the scheduler's config, and the chosen components. One tensor
/// is in memory at a time. Throws CheckpointError when the folder exists and is not empty,
/// ConfigError for an unknown component.
void write_random_pipeline(const std::filesystem::path& folder, const PipelineSize& size,
                           const RandomPipelineOptions& options);

}  // namespace zoetrope
