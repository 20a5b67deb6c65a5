// `zoetrope preprocess INPUT --output FOLDER --model PIPELINE`: videos with captions to the parquet
// files that training reads.
#pragma once

#include <CLI/App.hpp>

namespace zoetrope {

void add_preprocess_command(CLI::App& app);

}  // namespace zoetrope
