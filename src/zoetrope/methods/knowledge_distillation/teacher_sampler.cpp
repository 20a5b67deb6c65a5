#include "zoetrope/methods/knowledge_distillation/teacher_sampler.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/few_step.h"
#include "zoetrope/diffusion/prediction_conversion.h"

namespace zoetrope {

std::vector<int64_t> teacher_timesteps(double flow_shift, int64_t num_steps) {
  const at::Tensor table =
      make_self_forcing_schedule(flow_shift, at::kCPU, num_steps).timesteps().to(at::kLong);
  std::vector<int64_t> timesteps(table.const_data_ptr<int64_t>(),
                                 table.const_data_ptr<int64_t>() + num_steps);
  bool usable = timesteps.back() > 0;
  for (size_t i = 1; i < timesteps.size(); ++i) usable = usable && timesteps[i] < timesteps[i - 1];
  if (!usable) {
    fail<ConfigError>(
        "method.teacher_inference_steps: steps must lie at different whole timesteps above 0, but "
        "{} at flow shift {} do not; use fewer",
        num_steps, flow_shift);
  }
  return timesteps;
}

TeacherSampler::TeacherSampler(ModelBase& teacher, FlowMatchSchedule schedule, Options options)
    : teacher_(teacher), schedule_(std::move(schedule)), options_(std::move(options)) {}

at::Tensor TeacherSampler::guided_velocity(const at::Tensor& noisy, const at::Tensor& timestep_B,
                                           const TrainingBatch& batch) {
  if (options_.guidance_scale == 1.0)
    return teacher_.predict_noise(noisy, timestep_B, batch.conditional).to(at::kFloat);
  const auto twice = [](const at::Tensor& rows) { return at::cat({rows, rows}); };
  const Conditioning both = concatenate_rows(batch.conditional, batch.unconditional);
  const std::vector<at::Tensor> halves =
      teacher_.predict_noise(twice(noisy), twice(timestep_B), both).to(at::kFloat).chunk(2);
  return halves[1] + options_.guidance_scale * (halves[0] - halves[1]);
}

Trajectory TeacherSampler::sample(const TrainingBatch& batch, const at::Tensor& noise_1TCHW) {
  at::NoGradGuard no_grad;
  const at::Tensor timesteps =
      at::tensor(options_.timesteps, at::kLong).to(noise_1TCHW.device(), at::kFloat);
  std::vector<at::Tensor> states;
  at::Tensor clean;
  at::Tensor noisy = noise_1TCHW.to(at::kBFloat16);
  for (int64_t step = 0; step < timesteps.size(0); ++step) {
    states.push_back(noisy);
    const at::Tensor timestep = timesteps.narrow(0, step, 1);
    clean = velocity_to_clean(guided_velocity(noisy, timestep, batch), noisy,
                              schedule_.sigma_at(timestep));
    if (step + 1 == timesteps.size(0)) break;
    noisy =
        next_input_along_flow(schedule_, {clean, noisy, timestep}, timesteps.narrow(0, step + 1, 1))
            .to(at::kBFloat16);
  }
  Trajectory trajectory;
  trajectory.latents_STCHW = at::cat(states).to(at::kCPU);
  trajectory.timesteps_S = at::tensor(options_.timesteps, at::kLong);
  trajectory.clean_TCHW = clean.squeeze(0).to(at::kCPU);
  return trajectory;
}

}  // namespace zoetrope
