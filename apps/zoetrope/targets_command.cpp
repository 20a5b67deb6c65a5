#include "zoetrope/targets_command.h"

#include <cstdio>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "zoetrope/config_reference.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples = R"(Examples:
  zoetrope targets                       every section and target with its keys
  zoetrope targets grad_clip             one target, by any of its names
  zoetrope targets training.optimizer    one section
  zoetrope targets --markdown            the text of docs/config_reference.md)";

struct Options {
  std::string name;
  bool markdown = false;
};

}  // namespace

void add_targets_command(CLI::App& app, TargetTables tables) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "targets", "List sections and targets with their keys, defaults and ranges");
  command->footer(kExamples);
  command->add_option("NAME", options->name, "A target or section; all when left out");
  command->add_flag("--markdown", options->markdown, "Write the config reference as Markdown");
  command->callback([options, tables] {
    const std::string text = options->markdown ? config_reference_markdown(tables)
                                               : config_reference_text(tables, options->name);
    fmt::print("{}", text);
    std::fflush(stdout);
  });
}

}  // namespace zoetrope
