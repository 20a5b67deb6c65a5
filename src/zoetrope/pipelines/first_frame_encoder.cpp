#include "zoetrope/pipelines/first_frame_encoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/networks/first_frame.h"
#include "zoetrope/networks/frame_tensor.h"

namespace zoetrope {
FirstFrameEncoder::FirstFrameEncoder(const std::filesystem::path& pipeline_folder,
                                     const WanVae& vae, at::Device device)
    : vae_(vae), device_(device), embedder_(pipeline_folder, device) {}

Conditioning FirstFrameEncoder::encode(const media::Frame& picture, int64_t num_frames) const {
  const at::NoGradGuard no_grad;
  Conditioning conditions;
  conditions.image_embedding_BLD = embedder_.embed(picture).unsqueeze(0);
  const at::Tensor latents_BCTHW =
      encode_first_frame(vae_, vae_pixels(frame_to_tensor(picture)).to(device_), num_frames);
  conditions.image_latents_BTCHW =
      with_first_frame_mask(latents_BCTHW.transpose(1, 2)).to(at::kFloat);
  return conditions;
}

}  // namespace zoetrope
