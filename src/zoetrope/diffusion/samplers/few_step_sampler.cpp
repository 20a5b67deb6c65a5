#include "zoetrope/diffusion/samplers/few_step_sampler.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/prediction_conversion.h"

namespace zoetrope {
namespace {

SamplingSchedule levels_of(const FewStepRollout& rollout) {
  const at::Tensor timesteps_N = at::cat(rollout.timesteps);
  const at::Tensor timesteps = timesteps_N.to(at::kCPU, at::kDouble);
  const at::Tensor sigmas = rollout.schedule.sigma_at(timesteps_N).to(at::kCPU, at::kDouble);
  SamplingSchedule levels;
  for (int64_t i = 0; i < timesteps.size(0); ++i) {
    levels.timesteps.push_back(timesteps.const_data_ptr<double>()[i]);
    levels.sigmas.push_back(sigmas.const_data_ptr<double>()[i]);
  }
  levels.sigmas.push_back(0.0);
  return levels;
}

}  // namespace

FewStepSampler::FewStepSampler(FewStepRollout rollout, FreshNoise fresh_noise)
    : Sampler(levels_of(rollout)),
      rollout_(std::move(rollout)),
      fresh_noise_(std::move(fresh_noise)) {
  if (rollout_.transition == FewStepTransition::kSde && !fresh_noise_)
    fail<Error>("few-step sampling: must be given fresh noise for its steps, but got none");
}

at::Tensor FewStepSampler::step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) {
  const at::Tensor& timestep = rollout_.timesteps.at(static_cast<size_t>(i));
  at::Tensor clean =
      velocity_to_clean(velocity.to(at::kFloat), sample, rollout_.schedule.sigma_at(timestep));
  if (i + 1 == num_steps()) return clean;
  const at::Tensor& next_timestep = rollout_.timesteps[static_cast<size_t>(i) + 1];
  if (rollout_.transition == FewStepTransition::kOde)
    return next_input_along_flow(rollout_.schedule, {clean, sample, timestep}, next_timestep);
  return rollout_.schedule.add_noise(clean, fresh_noise_(i + 1), next_timestep);
}

}  // namespace zoetrope
