// Whether the networks of a config have what its adapters target, and its ranks can share networks
// and data, before anything large is read: only config.json files and the footers of parquet files
// are.
#pragma once

#include <vector>

#include "zoetrope/train/stages.h"

namespace zoetrope {

/// Adds an issue for every role of stages[index] whose heads or features the ranks of a sequence or
/// tensor parallel group cannot share or whose adapters target no layer, and for data with fewer
/// samples than groups of ranks that read different ones. What cannot be found or read is left to
/// those who look it up.
void check_shapes(const std::vector<Stage>& stages, size_t index, config::Issues& issues);

}  // namespace zoetrope
