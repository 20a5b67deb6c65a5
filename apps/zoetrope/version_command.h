// `zoetrope version`: what this binary is.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_version_command(CLI::App& app);

}  // namespace zoetrope
