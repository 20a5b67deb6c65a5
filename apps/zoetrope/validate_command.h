// `zoetrope validate FILE...`: all faults of each config, without loading weights.
#pragma once

#include <CLI/App.hpp>

#include "zoetrope/train/run_config.h"

namespace zoetrope {

void add_validate_command(CLI::App& app, TargetTables tables);

}  // namespace zoetrope
