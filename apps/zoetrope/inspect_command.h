// `zoetrope inspect`: what a path holds, and what is wrong with it.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_inspect_command(CLI::App& app);

}  // namespace zoetrope
