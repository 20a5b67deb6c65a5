#include "zoetrope/methods/distribution_matching/overlap_anchor.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {

OverlapAnchor::OverlapAnchor(const std::filesystem::path& vae_folder, at::Device device,
                             int64_t num_anchor_frames)
    : vae_(vae_folder, device, at::kFloat), num_anchor_frames_(num_anchor_frames) {}

at::Tensor OverlapAnchor::decode(const at::Tensor& latents_BTCHW) const {
  return vae_.decode(vae_.denormalize(latents_BTCHW.transpose(1, 2).to(at::kFloat)));
}

at::Tensor OverlapAnchor::encode(const at::Tensor& pixels_BCFHW, const at::Tensor& like) const {
  return vae_.normalize(vae_.encode_mean(pixels_BCFHW)).transpose(1, 2).to(like.scalar_type());
}

at::Tensor OverlapAnchor::reencode(const at::Tensor& previous_BTCHW, int64_t num_overlap) const {
  at::NoGradGuard no_grad;
  const int64_t first = previous_BTCHW.size(1) - num_overlap;
  const int64_t num_anchor = std::min(num_anchor_frames_, num_overlap);
  const at::Tensor rest =
      previous_BTCHW.narrow(1, first + num_anchor, num_overlap - num_anchor).detach();
  at::Tensor pixels_BCFHW;
  if (num_anchor == 1) {
    const at::Tensor up_to_anchor = decode(previous_BTCHW.narrow(1, 0, first + 1));
    pixels_BCFHW = up_to_anchor.narrow(2, up_to_anchor.size(2) - 1, 1);
  } else {
    pixels_BCFHW = decode(previous_BTCHW.narrow(1, first, num_anchor));
  }
  return at::cat({encode(pixels_BCFHW, previous_BTCHW), rest}, 1);
}

}  // namespace zoetrope
