#include "zoetrope/diffusion/few_step.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/diffusion/timestep_list.h"

namespace zoetrope {

std::vector<FrameBlock> split_into_blocks(int64_t num_frames, int64_t frames_per_block) {
  const int64_t num_blocks = std::max<int64_t>(1, num_frames / frames_per_block);
  std::vector<FrameBlock> blocks;
  int64_t first = 0;
  for (int64_t i = 0; i < num_blocks; ++i) {
    const int64_t size =
        i == 0 ? num_frames - (num_blocks - 1) * frames_per_block : frames_per_block;
    blocks.push_back({i, first, size});
    first += size;
  }
  return blocks;
}

std::vector<at::Tensor> denoising_timesteps(const std::vector<int64_t>& steps, bool warp,
                                            const FlowMatchSchedule& schedule,
                                            const std::string& key) {
  if (!are_descending_timesteps(steps, 0)) {
    fail<ConfigError>(
        "{}: must be a list of descending timesteps from {} (noise) to 0 (clean), but got [{}]",
        key, kNumTrainTimesteps, fmt::join(steps, ", "));
  }
  at::Tensor values_N =
      warp ? schedule.warp_steps(steps) : at::tensor(steps, at::kLong).to(at::kFloat);
  return values_N.to(schedule.device()).split(1);
}

at::Tensor next_input_along_flow(const FlowMatchSchedule& schedule,
                                 const FewStepPrediction& prediction,
                                 const at::Tensor& next_timestep) {
  const at::Tensor noise =
      clean_to_noise(prediction.clean, prediction.noisy, schedule.sigma_at(prediction.timestep));
  return schedule.add_noise(prediction.clean, noise, next_timestep);
}

}  // namespace zoetrope
