#include "zoetrope/plan_command.h"

#include <cstdio>
#include <memory>
#include <optional>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/train/rank_trial.h"
#include "zoetrope/train/run_plan.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples = R"(Examples:
  zoetrope plan examples/wan2.1/14b/sft.yaml
  zoetrope plan examples/wan2.1/14b/self_forcing.yaml --num-gpus 512 --gpu h200-141g
  zoetrope plan run.yaml --training.distributed.sp_size 4 --json
  zoetrope plan run.yaml --models.student.init_from models/tiny --training.distributed.device cpu --run-rank 17

Needs no weights, GPUs or ranks: only the config and its networks' transformer/config.json (or a published name). Keys of
the config can be overridden as for `train`. docs/scaling.md explains the numbers.)";

struct Options {
  std::string file;
  int64_t num_gpus = 0;
  std::string gpu;
  int64_t gpus_per_machine = 0;
  TimeAssumptions time;
  std::optional<int64_t> run_rank;
  int64_t num_steps = 2;
  bool json = false;
};

/// The overrides that give the config another number of ranks: more or fewer copies of the
/// parameters, in as many shards as before where that divides.
std::vector<std::string> layout_overrides(const Options& options, DistributedConfig config) {
  config.resolve();
  const int64_t shards = *config.hsdp_shard_dim;
  const bool one_copy = config.hsdp_replicate_dim == 1;
  const int64_t places = options.num_gpus / config.tp_size;
  if (options.num_gpus % config.tp_size != 0 || (places % shards != 0 && !one_copy)) {
    fail<ConfigError>(
        "--num-gpus: must be a multiple of training.distributed.{}, which is {}, but got {}",
        one_copy ? "tp_size" : "hsdp_shard_dim * tp_size",
        one_copy ? config.tp_size : shards * config.tp_size, options.num_gpus);
  }
  const int64_t new_shards = places % shards == 0 ? shards : places;
  return {fmt::format("--training.distributed.num_gpus={}", options.num_gpus),
          fmt::format("--training.distributed.hsdp_shard_dim={}", new_shards),
          fmt::format("--training.distributed.hsdp_replicate_dim={}", places / new_shards)};
}

std::vector<Stage> read_config(const Options& options, std::vector<std::string> overrides,
                               const TargetTables& tables) {
  const config::Node document = config::parse_yaml_file(expand_user(options.file));
  const auto read = [&](config::Issues& issues) {
    return read_stages(document, config::parse_overrides(overrides), tables, issues);
  };
  config::Issues issues;
  std::vector<Stage> stages = read(issues);
  if (options.num_gpus > 0 && !stages.empty()) {
    // Of the faults so far some may be those of another number of ranks.
    issues = {};
    for (std::string& override :
         layout_overrides(options, stages.front().config.training.distributed))
      overrides.push_back(std::move(override));
    stages = read(issues);
  }
  issues.throw_if_any();
  return stages;
}

PlanTarget target_of(const Options& options, const DistributedConfig& config) {
  constexpr const char* kDefaultGpu = "h100-80g";
  PlanTarget target = options.gpu.empty() && config.device == "cpu"
                          ? machine_target(config.num_gpus)
                          : gpu_target(find_gpu(options.gpu.empty() ? kDefaultGpu : options.gpu));
  if (options.gpus_per_machine > 0) target.ranks_per_machine = options.gpus_per_machine;
  target.time = options.time;
  return target;
}

/// What the rank sends in each group, as counted and as planned.
nlohmann::ordered_json trial_json(const RankTrial& trial, const RunPlan& plan, int64_t num_steps) {
  nlohmann::ordered_json json;
  json["peak_bytes"] = trial.peak_bytes;
  json["planned_peak_bytes"] = plan.memory.bytes_of(plan.memory.peak_of_step());
  for (const auto& [group, bytes] : trial.sent_bytes) {
    if (bytes == 0) continue;
    double planned = 0;
    for (const LinkTraffic& traffic : plan.step.traffic)
      planned += traffic.group == group ? traffic.bytes : 0;
    json["sent"][group] = {
        {"bytes_per_step", static_cast<double>(bytes) / static_cast<double>(num_steps)},
        {"planned_bytes_per_step", planned}};
  }
  return json;
}

void print_trial(const nlohmann::ordered_json& trial, int64_t rank, int64_t num_steps) {
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  const auto print_row = [&](const std::string& name, const nlohmann::ordered_json& counted,
                             const nlohmann::ordered_json& planned) {
    fmt::print("  {:<28}{:>12.4f}{:>12.4f}\n", name, counted.get<double>() / kGib,
               planned.get<double>() / kGib);
  };
  fmt::print("\nRank {} run alone for {} steps\n  {:<28}{:>12}{:>12}\n", rank, num_steps, "GiB",
             "counted", "planned");
  print_row("memory at the peak", trial["peak_bytes"], trial["planned_peak_bytes"]);
  if (!trial.contains("sent")) return;
  for (const auto& [group, sent] : trial["sent"].items()) {
    print_row(fmt::format("sent in a step, {}", group), sent["bytes_per_step"],
              sent["planned_bytes_per_step"]);
  }
}

struct StagePlan {
  std::string name;  // empty in a config without stages
  RunPlan plan;
  std::optional<nlohmann::ordered_json> trial;
};

StagePlan plan_stage(const Options& options, const Catalog& catalog,
                     const std::vector<Stage>& stages, size_t index) {
  RunDescription run = describe_run(stages, index, catalog.tables());
  if (!options.gpu.empty()) run = on_gpus(std::move(run));
  const RunConfig& config = stages[index].config;
  StagePlan stage{stages[index].name,
                  plan_run(std::move(run), target_of(options, config.training.distributed)),
                  std::nullopt};
  if (options.run_rank) {
    stage.trial =
        trial_json(try_rank(config, catalog.registries, *options.run_rank, options.num_steps),
                   stage.plan, options.num_steps);
  }
  return stage;
}

nlohmann::ordered_json to_json(const StagePlan& stage) {
  nlohmann::ordered_json json = to_json(stage.plan);
  if (!stage.name.empty()) json["stage"] = stage.name;
  if (stage.trial) json["run_rank"] = *stage.trial;
  return json;
}

void print(const StagePlan& stage, const Options& options) {
  if (!stage.name.empty()) fmt::print("stage {}\n", stage.name);
  fmt::print("{}", format_plan(stage.plan));
  if (stage.trial) print_trial(*stage.trial, *options.run_rank, options.num_steps);
}

void plan(const Options& options, const Catalog& catalog,
          const std::vector<std::string>& overrides) {
  const std::vector<Stage> stages = read_config(options, overrides, catalog.tables());
  auto list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < stages.size(); ++i) {
    const StagePlan stage = plan_stage(options, catalog, stages, i);
    if (options.json) {
      list.push_back(to_json(stage));
      continue;
    }
    if (i > 0) fmt::print("\n");
    print(stage, options);
  }
  if (options.json) fmt::print("{}\n", (list.size() == 1 ? list.front() : list).dump(2));
  std::fflush(stdout);
}

}  // namespace

void add_plan_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> overrides) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "plan", "Say what a run needs before it is started: memory, time, traffic");
  command->footer(kExamples);
  command->add_option("--config,FILE", options->file, "The config")->required();
  command->add_option("--num-gpus", options->num_gpus, "Ranks in place of the config's number")
      ->check(CLI::PositiveNumber);
  std::string names;
  for (const Gpu& gpu : known_gpus()) names += (names.empty() ? "" : ", ") + gpu.name;
  command->add_option(
      "--gpu", options->gpu,
      "One of " + names +
          " (default: h100-80g, or with training.distributed.device: cpu this machine)");
  command->add_option("--gpus-per-machine", options->gpus_per_machine, "Ranks of a machine")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--utilization", options->time.utilization,
                   "Share of the GPU's peak that computation is assumed to reach")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  command
      ->add_option("--run-rank", options->run_rank,
                   "Run this rank alone for --steps steps, without the others, and compare what it "
                   "needs and sends; reads weights, so name small models")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--steps", options->num_steps, "Steps of --run-rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &catalog, overrides = std::move(overrides)] {
    plan(*options, catalog, overrides);
  });
}

}  // namespace zoetrope
