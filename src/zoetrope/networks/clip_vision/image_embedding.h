// From a picture to the image tokens that Wan image-to-video transformers are conditioned on:
// preprocessing and the CLIP vision encoder of a pipeline folder.
#pragma once

#include <filesystem>

#include "zoetrope/networks/clip_vision/clip_image_processor.h"
#include "zoetrope/networks/clip_vision/clip_vision_encoder.h"

namespace zoetrope {

class ImageEmbedder {
 public:
  /// Reads `image_encoder/` (in fp32) and `image_processor/`. Throws CheckpointError when a folder
  /// is missing or damaged, or when the processor's crop is not what the encoder takes.
  ImageEmbedder(const std::filesystem::path& pipeline_folder, at::Device device);

  /// Tokens [L, D] of `image`, fp32 on the device.
  at::Tensor embed(const media::Frame& image) const;

 private:
  ClipImageProcessorConfig processor_;
  ClipVisionEncoder encoder_;
};

}  // namespace zoetrope
