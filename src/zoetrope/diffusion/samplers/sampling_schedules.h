// The noise levels that samplers walk. Each function documents how often and where the shift
// applies, since the reference implementations differ in it.
#pragma once

#include "zoetrope/diffusion/samplers/sampler.h"

namespace zoetrope {

/// Flow-match Euler of diffusers and FastVideo: n equally spaced levels between the greatest and
/// the least level of the shifted training table, shifted once more. Throws Error when n < 1 or
/// shift <= 0.
SamplingSchedule make_euler_schedule(double shift, int64_t num_steps);

/// UniPC of Wan and FastVideo: n equally spaced levels from the shifted 0.999 towards 0 (without
/// it), shifted once more; timesteps truncated to whole numbers.
SamplingSchedule make_unipc_schedule(double shift, int64_t num_steps);

/// UniPC of diffusers with `use_flow_sigmas`: n equally spaced levels from 1 towards 0.001 (without
/// it), shifted once; a level of 1 is lowered by 1e-6; timesteps truncated to whole numbers.
SamplingSchedule make_diffusers_unipc_schedule(double shift, int64_t num_steps);

}  // namespace zoetrope
