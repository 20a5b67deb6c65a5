// `zoetrope plan`: memory, work, traffic, time and disk of a run before it is started.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "zoetrope/catalog.h"

namespace zoetrope {

/// `catalog` is borrowed; `overrides` are those of the config, as for `train`.
void add_plan_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> overrides);

}  // namespace zoetrope
