// `zoetrope evaluate`: samples videos of a world whose truth is known, and measures them.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_evaluate_command(CLI::App& app);

}  // namespace zoetrope
