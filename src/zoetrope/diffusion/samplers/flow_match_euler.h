// The first-order sampler of flow matching: x_{i+1} = x_i + (sigma_{i+1} - sigma_i) v.
#pragma once

#include "zoetrope/diffusion/samplers/sampler.h"

namespace zoetrope {

class FlowMatchEuler : public Sampler {
 public:
  using Sampler::Sampler;
  at::Tensor step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) override;
};

}  // namespace zoetrope
