#include "zoetrope/pipelines/first_frame_encoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/networks/first_frame.h"

namespace zoetrope {
namespace {

/// [1, 3, h, w] in [-1, 1].
at::Tensor to_pixels(const media::Frame& picture) {
  at::Tensor bytes_HWC = at::empty({picture.height, picture.width, 3}, at::kByte);
  std::copy(picture.rgb.begin(), picture.rgb.end(), bytes_HWC.mutable_data_ptr<uint8_t>());
  return bytes_HWC.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).div_(127.5).sub_(1.0);
}

}  // namespace

FirstFrameEncoder::FirstFrameEncoder(const std::filesystem::path& pipeline_folder,
                                     const WanVae& vae, at::Device device)
    : vae_(vae),
      device_(device),
      processor_(read_clip_image_processor_config(pipeline_folder / "image_processor")),
      encoder_(pipeline_folder / "image_encoder", device, at::kFloat) {}

Conditioning FirstFrameEncoder::encode(const media::Frame& picture, int64_t num_frames) const {
  const at::NoGradGuard no_grad;
  Conditioning conditions;
  conditions.image_embedding_BLD =
      encoder_.encode(process_clip_image(picture, processor_).unsqueeze(0));
  const at::Tensor latents_BCTHW =
      encode_first_frame(vae_, to_pixels(picture).to(device_), num_frames);
  conditions.image_latents_BTCHW =
      with_first_frame_mask(latents_BCTHW.transpose(1, 2)).to(at::kFloat);
  return conditions;
}

}  // namespace zoetrope
