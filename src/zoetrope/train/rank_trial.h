// Runs one rank of a layout alone, without the others, for what it needs and sends: a large layout
// is so checked before it is paid for. The networks are those of the config, which for this are
// best small ones.
#pragma once

#include <map>
#include <string>

#include "zoetrope/train/component_registries.h"
#include "zoetrope/train/run_config.h"

namespace zoetrope {

struct RankTrial {
  double peak_bytes = 0;  ///< that tensors had at one time
  /// That the rank sent in the steps, by the mesh's groups (`shard`, `replicate`, `data`,
  /// `sequence`, `tensor`).
  std::map<std::string, int64_t> sent_bytes;
};

/// Trains `num_steps` steps as `rank` of the config's layout, on the first samples of the data.
/// Callbacks that write files, trackers and checkpoints are left out. Throws ConfigError when there
/// is no such rank.
RankTrial try_rank(const RunConfig& config, const ComponentRegistries& registries, int64_t rank,
                   int64_t num_steps);

}  // namespace zoetrope
