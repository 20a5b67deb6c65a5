// `zoetrope train FILE [--section.key VALUE ...]`: reads and checks the config, then trains.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "zoetrope/catalog.h"

namespace zoetrope {

/// `overrides` are the arguments that split_train_arguments took out of the command line.
void add_train_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> overrides);

}  // namespace zoetrope
