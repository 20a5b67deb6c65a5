#include "zoetrope/diffusion/samplers/flow_match_euler.h"

#include <ATen/ATen.h>

namespace zoetrope {

at::Tensor FlowMatchEuler::step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) {
  const double change = schedule().sigmas.at(i + 1) - schedule().sigmas.at(i);
  return (sample.to(at::kFloat) + change * velocity.to(at::kFloat)).to(sample.scalar_type());
}

}  // namespace zoetrope
