// What an image-to-video network of a pipeline folder is told of the picture that a clip begins
// with: image tokens of its image encoder, and mask and latents of its VAE.
#pragma once

#include <filesystem>

#include "zoetrope/media/frame.h"
#include "zoetrope/networks/clip_vision/image_embedding.h"
#include "zoetrope/networks/conditioning.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"

namespace zoetrope {

class FirstFrameEncoder {
 public:
  /// Loads image_encoder and image_processor of `pipeline_folder` in fp32. `vae` must outlive the
  /// encoder. Throws CheckpointError as ImageEmbedder.
  FirstFrameEncoder(const std::filesystem::path& pipeline_folder, const WanVae& vae,
                    at::Device device);

  /// image_embedding and image_latents, one row, of a clip of `num_frames` pixel frames of the size
  /// of `picture`; fp32. Throws DataError for sizes that do not fit the VAE.
  Conditioning encode(const media::Frame& picture, int64_t num_frames) const;

 private:
  const WanVae& vae_;
  at::Device device_;
  ImageEmbedder embedder_;
};

}  // namespace zoetrope
