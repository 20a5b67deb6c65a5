// `zoetrope play`: steers a streaming model live, from a page in the browser.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_play_command(CLI::App& app);

}  // namespace zoetrope
