// The zoetrope command: subcommands in files of their own; errors are printed here and nowhere
// else.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/catalog.h"
#include "zoetrope/evaluate_command.h"
#include "zoetrope/export_command.h"
#include "zoetrope/init_command.h"
#include "zoetrope/inspect_command.h"
#include "zoetrope/kernels/process_memory.h"
#include "zoetrope/launch_command.h"
#include "zoetrope/plan_command.h"
#include "zoetrope/play_command.h"
#include "zoetrope/preprocess_command.h"
#include "zoetrope/sample_command.h"
#include "zoetrope/targets_command.h"
#include "zoetrope/train_arguments.h"
#include "zoetrope/train_command.h"
#include "zoetrope/validate_command.h"
#include "zoetrope/version_command.h"

namespace {

/// Ends the process without the destructors of LibTorch's registries, which take a third of a short
/// command's time.
[[noreturn]] void leave(int status) {
  std::fflush(nullptr);
  std::quick_exit(status);
}

int run(std::vector<std::string> arguments) {
  zoetrope::TrainArguments split;
  if (!arguments.empty() && arguments.front() == "train") {
    split = zoetrope::split_train_arguments({arguments.begin() + 1, arguments.end()});
    arguments = split.own;
    arguments.insert(arguments.begin(), "train");
  }
  zoetrope::LaunchArguments launched;
  if (!arguments.empty() && arguments.front() == "launch") {
    launched = zoetrope::split_launch_arguments({arguments.begin() + 1, arguments.end()});
    arguments = launched.own;
    arguments.insert(arguments.begin(), "launch");
  }
  if (!arguments.empty() && arguments.front() == "plan") {
    split = zoetrope::split_dotted_arguments({arguments.begin() + 1, arguments.end()});
    arguments = split.own;
    arguments.insert(arguments.begin(), "plan");
  }
  CLI::App app("Trains video diffusion models from one YAML file.", "zoetrope");
  app.require_subcommand(1);
  app.footer("`zoetrope COMMAND --help` explains a command, with examples.");
  const zoetrope::Catalog catalog;
  add_train_command(app, catalog, split.overrides);
  add_plan_command(app, catalog, split.overrides);
  add_launch_command(app, catalog, std::move(launched.train));
  add_validate_command(app, catalog.tables());
  add_targets_command(app, catalog.tables());
  zoetrope::add_evaluate_command(app);
  zoetrope::add_export_command(app);
  zoetrope::add_init_command(app);
  zoetrope::add_inspect_command(app);
  zoetrope::add_play_command(app);
  zoetrope::add_preprocess_command(app);
  zoetrope::add_sample_command(app);
  zoetrope::add_version_command(app);
  try {
    // CLI11 takes its arguments from the back.
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  zoetrope::configure_process_memory();
  try {
    leave(run({argv + 1, argv + argc}));
  } catch (const std::exception& error) {
    fmt::print(stderr, "zoetrope: {}\n", zoetrope::describe_error_chain(error));
    leave(1);
  }
}
