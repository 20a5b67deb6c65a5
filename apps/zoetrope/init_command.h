// `zoetrope init`: a pipeline folder with random weights.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_init_command(CLI::App& app);

}  // namespace zoetrope
