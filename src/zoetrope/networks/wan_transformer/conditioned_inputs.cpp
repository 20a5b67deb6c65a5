#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"

#include <ATen/ATen.h>

namespace zoetrope {

WanTransformerInputs conditioned_inputs(const at::Tensor& noisy_BCTHW, const at::Tensor& timestep,
                                        const Conditioning& conditioning) {
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW = noisy_BCTHW;
  inputs.timestep = timestep;
  inputs.text_BLE = conditioning.text_embedding_BLD;
  inputs.image_BLE = conditioning.image_embedding_BLD;
  if (conditioning.image_latents_BTCHW.defined()) {
    const at::Tensor image_BCTHW =
        conditioning.image_latents_BTCHW.narrow(1, 0, noisy_BCTHW.size(2)).transpose(1, 2);
    inputs.hidden_BCTHW = at::cat({noisy_BCTHW, image_BCTHW.to(noisy_BCTHW.scalar_type())}, 1);
  }
  return inputs;
}

}  // namespace zoetrope
