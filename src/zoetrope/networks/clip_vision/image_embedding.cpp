#include "zoetrope/networks/clip_vision/image_embedding.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

ImageEmbedder::ImageEmbedder(const std::filesystem::path& pipeline_folder, at::Device device)
    : processor_(read_clip_image_processor_config(pipeline_folder / "image_processor")),
      encoder_(pipeline_folder / "image_encoder", device, at::kFloat) {
  const int64_t side = encoder_.config().image_size;
  if (processor_.crop_height == side && processor_.crop_width == side) return;
  fail<CheckpointError>(
      "{}: crop_size must be {}x{} as image_encoder's image_size, but is {}x{}; the folders do not "
      "belong together",
      (pipeline_folder / "image_processor").string(), side, side, processor_.crop_height,
      processor_.crop_width);
}

at::Tensor ImageEmbedder::embed(const media::Frame& image) const {
  return encoder_.encode(process_clip_image(image, processor_).unsqueeze(0)).squeeze(0);
}

}  // namespace zoetrope
