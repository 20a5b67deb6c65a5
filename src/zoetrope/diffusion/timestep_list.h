// Lists of timesteps at which few-step samplers denoise, as configs and command lines give them.
#pragma once

#include <cstdint>
#include <vector>

namespace zoetrope {

/// Whether `steps` has entries, each below the one before, from kNumTrainTimesteps at most to
/// `least` at least.
bool are_descending_timesteps(const std::vector<int64_t>& steps, int64_t least);

}  // namespace zoetrope
