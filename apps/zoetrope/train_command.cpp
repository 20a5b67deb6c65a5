#include "zoetrope/train_command.h"

#include <cstdio>
#include <optional>

#include <CLI/Config.hpp>
#include <CLI/Error.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/distributed/rank_environment.h"
#include "zoetrope/train/run_stages.h"
#include "zoetrope/train/update_summary.h"
#include "zoetrope/train_arguments.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples =
    R"(Also: --section.key VALUE or --section.key=VALUE, any number of times.

Examples:
  zoetrope train examples/quickstart/finetune.yaml
  zoetrope train --config run.yaml --training.optimizer.learning_rate 2e-5 --training.loop.max_train_steps=100
  zoetrope train run.yaml --dry-run > resolved.yaml     the config with every default filled in

Every key of the config can be overridden with --section.key VALUE or --section.key=VALUE; values are true, false, none,
numbers, lists as [a, b], and text. `zoetrope targets` lists the keys. In a config with `stages` an override holds for
every stage, and --stages.NAME.section.key VALUE for one.)";

struct Options {
  std::string file;
  bool dry_run = false;
};

std::vector<Stage> read_config(const std::string& file, const std::vector<std::string>& overrides,
                               const Catalog& catalog) {
  config::Issues issues;
  std::vector<Stage> stages =
      read_stages(config::parse_yaml_file(expand_user(file)), config::parse_overrides(overrides),
                  catalog.tables(), issues);
  for (const std::string& note : issues.notes()) log_info("note: {}", note);
  issues.throw_if_any();
  return stages;
}

void train(const Options& options, const Catalog& catalog,
           const std::vector<std::string>& overrides) {
  const RankEnvironment environment = read_rank_environment(process_environment());
  // Under launchers that mix the output of all ranks the first one speaks for them.
  std::optional<QuietLog> quiet;
  if (environment.rank != 0 && !environment.has_own_log) quiet.emplace();
  const std::vector<Stage> stages = read_config(options.file, overrides, catalog);
  if (options.dry_run) {
    for (const Stage& stage : stages) {
      log_info("{}{}{}", stage.name, stage.name.empty() ? "" : ": ",
               describe_updates(stage.config));
    }
    fmt::print("{}", write_yaml(write_stages(stages)));
    std::fflush(stdout);
    return;
  }
  constexpr int kSignalExitBase = 128;  // as a shell reports a process that a signal ended
  if (const int signal = run_stages(stages, catalog.registries, environment); signal != 0)
    throw CLI::RuntimeError(kSignalExitBase + signal);
}

}  // namespace

std::vector<Stage> read_train_arguments(const std::vector<std::string>& arguments,
                                        const Catalog& catalog) {
  const TrainArguments split = split_train_arguments(arguments);
  const std::string file = config_file(split);
  if (file.empty()) fail<ConfigError>("train: must name a config, but there is no FILE");
  return read_config(file, split.overrides, catalog);
}

void add_train_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> overrides) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Train as a config says");
  command->footer(kExamples);
  command->add_option("--config,FILE", options->file, "The config")->required();
  command->add_flag("--dry-run", options->dry_run,
                    "Check the config, print it with all defaults, and stop");
  command->callback([options, &catalog, overrides = std::move(overrides)] {
    train(*options, catalog, overrides);
  });
}

}  // namespace zoetrope
