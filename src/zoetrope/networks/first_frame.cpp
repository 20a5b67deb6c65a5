#include "zoetrope/networks/first_frame.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {

at::Tensor encode_first_frame(const WanVae& vae, const at::Tensor& pixels_BCHW,
                              int64_t num_frames) {
  const at::NoGradGuard no_grad;
  const at::Tensor first_BCFHW = pixels_BCHW.unsqueeze(2);
  const at::Tensor rest_BCFHW =
      at::zeros_like(first_BCFHW).expand({-1, -1, num_frames - 1, -1, -1});
  return vae.normalize(vae.encode_mean(at::cat({first_BCFHW, rest_BCFHW}, 2)));
}

at::Tensor with_first_frame_mask(const at::Tensor& latents_BTCHW) {
  const auto shape = latents_BTCHW.sizes();
  at::Tensor mask_BTCHW = at::zeros({shape[0], shape[1], kFrameMaskChannels, shape[3], shape[4]},
                                    latents_BTCHW.options());
  mask_BTCHW.narrow(1, 0, 1).fill_(1.0);
  return at::cat({mask_BTCHW, latents_BTCHW}, 2);
}

}  // namespace zoetrope
