#include "zoetrope/diffusion/timestep_list.h"

#include <algorithm>

#include "zoetrope/diffusion/flow_match_schedule.h"

namespace zoetrope {

bool are_descending_timesteps(const std::vector<int64_t>& steps, int64_t least) {
  return !steps.empty() && steps.front() <= kNumTrainTimesteps && steps.back() >= least &&
         std::ranges::adjacent_find(steps, std::ranges::less_equal()) == steps.end();
}

}  // namespace zoetrope
