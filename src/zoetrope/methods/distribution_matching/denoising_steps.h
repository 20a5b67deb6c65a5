// The few timesteps at which a distilled student denoises.
#pragma once

#include <cstdint>
#include <vector>

#include "zoetrope/diffusion/flow_match_schedule.h"

namespace zoetrope {

/// fp32 [1] on the schedule's device, one for each of `steps` (1000 = pure noise, 0 = clean). With
/// `warp` a step is a place on the unshifted scale that is moved onto `schedule`
/// (Self-Forcing's `warp_denoising_step`). Throws ConfigError naming `key` when the list is empty,
/// not descending, or has a step outside [0, 1000].
std::vector<at::Tensor> denoising_timesteps(const std::vector<int64_t>& steps, bool warp,
                                            const FlowMatchSchedule& schedule,
                                            const std::string& key);

}  // namespace zoetrope
