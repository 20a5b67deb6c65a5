#include "zoetrope/validate_command.h"

#include <cstdio>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "zoetrope/train/path_check.h"
#include "zoetrope/train/shape_check.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples = R"(Examples:
  zoetrope validate examples/quickstart/finetune.yaml
  zoetrope validate --check-paths runs/*.yaml

Prints every fault of every file (where, what must hold, what came, the nearest known name) and exits with 1 if there is
any. Paths and Hugging Face names are looked up only with --check-paths, and then also whether the ranks can share networks and
samples.)";

struct Options {
  std::vector<std::string> files;
  bool check_paths = false;
};

/// All faults of one file; a document that cannot be read is one fault.
config::Issues check_file(const std::string& file, const TargetTables& tables, bool check_paths) {
  config::Issues issues;
  try {
    const std::vector<Stage> stages =
        read_stages(config::parse_yaml_file(file), {}, tables, issues);
    for (size_t i = 0; check_paths && i < stages.size(); ++i) {
      check_config_paths(stages[i].config, issues);
      check_shapes(stages, i, issues);
    }
  } catch (const ConfigError& error) {
    issues.add({}, "", error.what());
  }
  return issues;
}

void validate(const Options& options, const TargetTables& tables) {
  bool ok = true;
  for (const std::string& file : options.files) {
    const config::Issues issues = check_file(file, tables, options.check_paths);
    const size_t num_faults = issues.faults().size();
    fmt::print(
        "{}: {}\n", file,
        num_faults == 0 ? "ok" : fmt::format("{} fault{}", num_faults, num_faults == 1 ? "" : "s"));
    for (const std::string& fault : issues.faults()) fmt::print("  {}\n", fault);
    for (const std::string& note : issues.notes()) fmt::print("  note: {}\n", note);
    ok = ok && issues.ok();
  }
  std::fflush(stdout);
  if (!ok) throw CLI::RuntimeError(1);
}

}  // namespace

void add_validate_command(CLI::App& app, TargetTables tables) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("validate", "Check configs without loading anything");
  command->footer(kExamples);
  command->add_option("FILE", options->files, "Config files")->required();
  command->add_flag("--check-paths", options->check_paths,
                    "Also look up datasets, models and other named files");
  command->callback([options, tables] { validate(*options, tables); });
}

}  // namespace zoetrope
