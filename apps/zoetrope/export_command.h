// `zoetrope export`: weights out of a checkpoint into what other programs read.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_export_command(CLI::App& app);

}  // namespace zoetrope
