// `zoetrope launch [OPTIONS] train FILE ...`: checks the config once, then runs one `zoetrope
// train` for each rank.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "zoetrope/catalog.h"

namespace zoetrope {

/// A command line of `launch`, without that word.
struct LaunchArguments {
  std::vector<std::string> own;    ///< the launcher's options
  std::vector<std::string> train;  ///< `train` and all that follows
};

/// Splits at the word `train`, which no option's value is taken for.
LaunchArguments split_launch_arguments(const std::vector<std::string>& arguments);

/// `train`: LaunchArguments::train.
void add_launch_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> train);

}  // namespace zoetrope
