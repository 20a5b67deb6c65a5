// `zoetrope targets`: every name that a config may use, with its keys; also the source of
// docs/config_reference.md.
#pragma once

#include <CLI/App.hpp>

#include "zoetrope/train/run_config.h"

namespace zoetrope {

void add_targets_command(CLI::App& app, TargetTables tables);

}  // namespace zoetrope
