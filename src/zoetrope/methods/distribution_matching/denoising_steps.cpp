#include "zoetrope/methods/distribution_matching/denoising_steps.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

std::vector<at::Tensor> denoising_timesteps(const std::vector<int64_t>& steps, bool warp,
                                            const FlowMatchSchedule& schedule,
                                            const std::string& key) {
  bool descending = !steps.empty();
  for (size_t i = 0; i < steps.size(); ++i) {
    descending = descending && steps[i] >= 0 && steps[i] <= kNumTrainTimesteps &&
                 (i == 0 || steps[i] < steps[i - 1]);
  }
  if (!descending) {
    fail<ConfigError>(
        "{}: must be a list of descending timesteps from {} (noise) to 0 (clean), but got [{}]",
        key, kNumTrainTimesteps, fmt::join(steps, ", "));
  }
  at::Tensor values_N =
      warp ? schedule.warp_steps(steps) : at::tensor(steps, at::kLong).to(at::kFloat);
  return values_N.to(schedule.device()).split(1);
}

}  // namespace zoetrope
