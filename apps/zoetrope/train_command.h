// `zoetrope train FILE [--section.key VALUE ...]`: reads and checks the config, then trains.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "zoetrope/catalog.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {

/// What the arguments after the word `train` ask for. Prints notes; throws ConfigError with every
/// fault of the config.
std::vector<Stage> read_train_arguments(const std::vector<std::string>& arguments,
                                        const Catalog& catalog);

/// `overrides` are the arguments that split_train_arguments took out of the command line.
void add_train_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> overrides);

}  // namespace zoetrope
