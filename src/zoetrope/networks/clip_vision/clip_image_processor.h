// From a picture to the normalised pixels that the CLIP vision encoder sees: antialiased bicubic
// resize, centred crop, mean and standard deviation. Same files and results as transformers'
// CLIPImageProcessor with Pillow.
#pragma once

#include <array>
#include <filesystem>
#include <optional>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "zoetrope/media/frame.h"

namespace zoetrope {

/// image_processor/preprocessor_config.json; names and defaults as in transformers.
struct ClipImageProcessorConfig {
  std::optional<int> shortest_edge = 224;  ///< of the resized picture, whose aspect ratio stays
  int height = 0;                          ///< of the resized picture where shortest_edge is unset
  int width = 0;
  int crop_height = 224;
  int crop_width = 224;
  double rescale_factor = 1.0 / 255.0;
  std::array<double, 3> image_mean = {0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> image_std = {0.26862954, 0.26130258, 0.27577711};
};

/// Reads `image_processor_folder`/preprocessor_config.json. Throws CheckpointError for a step that
/// is switched off, another filter than bicubic, and a crop that is larger than the picture.
ClipImageProcessorConfig read_clip_image_processor_config(
    const std::filesystem::path& image_processor_folder);

/// What transformers writes for this config, `image_processor_type` included.
nlohmann::ordered_json to_json(const ClipImageProcessorConfig& config);

/// fp32 [3, crop_height, crop_width] on the CPU. Throws DataError for an empty picture.
at::Tensor process_clip_image(const media::Frame& image, const ClipImageProcessorConfig& config);

}  // namespace zoetrope
