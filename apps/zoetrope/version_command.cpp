#include "zoetrope/version_command.h"

#include <cstdio>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

namespace zoetrope {

void add_version_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("version", "Print the versions of Zoetrope and LibTorch");
  command->footer("Examples:\n  zoetrope version");
  command->callback([] {
    fmt::print("zoetrope {} (LibTorch {})\n", ZOETROPE_VERSION, TORCH_VERSION);
    std::fflush(stdout);
  });
}

}  // namespace zoetrope
