// The sampler of students that were distilled to a few steps: the arithmetic of their rollouts in
// training (diffusion/few_step.h).
#pragma once

#include <functional>

#include "zoetrope/diffusion/few_step.h"
#include "zoetrope/diffusion/samplers/sampler.h"

namespace zoetrope {

/// Standard normal noise of the sample's shape with which it goes to step `step` (from 1).
using FreshNoise = std::function<at::Tensor(int64_t step)>;

class FewStepSampler : public Sampler {
 public:
  /// `fresh_noise` may be empty for transitions along the flow; throws Error otherwise.
  FewStepSampler(FewStepRollout rollout, FreshNoise fresh_noise);
  at::Tensor step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) override;

 private:
  FewStepRollout rollout_;
  FreshNoise fresh_noise_;
};

}  // namespace zoetrope
