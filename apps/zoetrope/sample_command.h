// `zoetrope sample`: videos from a pipeline folder and prompts.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_sample_command(CLI::App& app);

}  // namespace zoetrope
