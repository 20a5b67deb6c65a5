// What a config names outside itself: datasets, model folders, files. Looked up, never opened.
#pragma once

#include "zoetrope/train/run_config.h"

namespace zoetrope {

/// Adds an issue for every dataset folder, model, weights file, prompt file and checkpoint that
/// does not exist.
void check_config_paths(const RunConfig& run, config::Issues& issues);

}  // namespace zoetrope
