// How many samples an update of the weights takes, and how often the student is updated: what a
// recipe's learning rate belongs to. Loads nothing.
#pragma once

#include <string>

#include "zoetrope/train/run_config.h"

namespace zoetrope {

/// `64 samples an update = batch 1 x accumulation 8 x 8 ranks; the student updates at every 5th
/// step, the critic at every step`. Processes that share a sample (sp_size) count as one group.
std::string describe_updates(const RunConfig& run);

}  // namespace zoetrope
