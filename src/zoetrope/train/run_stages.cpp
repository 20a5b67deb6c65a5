#include "zoetrope/train/run_stages.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include "zoetrope/base/build_id.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/folder_lock.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/distributed/rendezvous.h"
#include "zoetrope/train/config_comparison.h"
#include "zoetrope/train/finished_stage.h"
#include "zoetrope/train/path_check.h"
#include "zoetrope/train/run_training.h"
#include "zoetrope/train/shape_check.h"
#include "zoetrope/train/stage_start.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

size_t count_finished(const std::vector<Stage>& stages) {
  if (stages.front().name.empty()) return 0;
  size_t num_finished = 0;
  while (num_finished < stages.size() && is_finished(stage_folder(stages, num_finished)))
    ++num_finished;
  return num_finished;
}

/// Checks what will be trained: finished stages need neither their ranks nor their data again.
void check_remaining(const std::vector<Stage>& stages, size_t num_finished,
                     const RankEnvironment& environment) {
  config::Issues issues;
  std::vector<std::pair<std::string, config::Issues>> parts;
  for (size_t i = num_finished; i < stages.size(); ++i) {
    parts.emplace_back(fmt::format("stage '{}'", stages[i].name), config::Issues());
    check_supported(stages[i].config.training, environment, parts.back().second);
    check_config_paths(stages[i].config, parts.back().second);
    check_shapes(stages, i, parts.back().second);
  }
  issues.add_parts(parts);
  issues.throw_if_any();
}

/// Throws unless all ranks are of one run: before anything large is read.
void check_ranks(const std::vector<Stage>& stages, size_t num_finished, Rendezvous& rendezvous) {
  Rendezvous::Facts facts = {
      {"build", build_id()},
      {"LibTorch", TORCH_VERSION},
      {"number of ranks", fmt::format("{}", rendezvous.environment().num_ranks)}};
  for (auto& scalar : config_scalars(write_stages(stages))) facts.push_back(std::move(scalar));
  facts.emplace_back("number of finished stages", fmt::format("{}", num_finished));
  rendezvous.check_ranks(facts);
}

// A stage that was trained from another start would be taken for this run's.
void refuse_results_of_others(const std::vector<Stage>& stages, size_t num_finished) {
  std::vector<fs::path> own;
  for (size_t i = 0; i <= num_finished && i < stages.size(); ++i)
    own.push_back(stage_folder(stages, i));
  const fs::path run_folder = stage_folder(stages, 0).parent_path();
  for (const auto& entry : fs::directory_iterator(run_folder)) {
    const bool has_results = is_finished(entry.path()) || !list_checkpoints(entry.path()).empty();
    if (!has_results || std::find(own.begin(), own.end(), entry.path()) != own.end()) continue;
    fail<ConfigError>(
        "training.checkpoint.output_dir: must hold results of this config's finished stages and of "
        "the next one alone, but {} has results too, and {}; remove it or choose another folder",
        entry.path().string(),
        num_finished < stages.size()
            ? fmt::format("'{}' is not finished", stages[num_finished].name)
            : "is no stage of this config");
  }
}

void check_finished(const std::vector<Stage>& stages, size_t num_finished,
                    const config::TargetTable& callbacks) {
  for (size_t i = 0; i < num_finished; ++i)
    check_unchanged(stages[i], stage_folder(stages, i), callbacks);
  refuse_results_of_others(stages, num_finished);
}

int run_all(const std::vector<Stage>& stages, const ComponentRegistries& registries,
            Rendezvous& rendezvous) {
  const size_t num_finished = count_finished(stages);
  check_remaining(stages, num_finished, rendezvous.environment());
  if (stages.front().name.empty()) {
    check_ranks(stages, 0, rendezvous);
    return run_training(stages.front().config, registries, rendezvous);
  }
  const fs::path run_folder = stages.front().config.training.checkpoint.output_dir;
  std::optional<FolderLock> lock;
  if (rendezvous.is_first()) lock.emplace(run_folder);
  check_finished(stages, num_finished, registries.callbacks);
  check_ranks(stages, num_finished, rendezvous);
  if (rendezvous.is_first())
    write_file_atomically(run_folder / "config.yaml", config::write_yaml(write_stages(stages)));
  const TargetTables tables{registries.models, registries.methods, registries.callbacks};
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string title =
        fmt::format("stage {} of {}, {}", i + 1, stages.size(), stages[i].name);
    if (i < num_finished) {
      log_info("{}: was finished before", title);
      continue;
    }
    // Several ranks find out together, in the stage.
    if (rendezvous.environment().num_ranks == 1 && StopSignal::received() != 0)
      return StopSignal::received();
    log_info("{}", title);
    const int signal = run_training(stage_run(stages, i, tables), registries, rendezvous);
    if (signal != 0) return signal;
    if (rendezvous.is_first()) mark_finished(stages[i], stage_folder(stages, i));
  }
  return 0;
}

RendezvousTimeouts timeouts(const DistributedConfig& config) {
  const auto milliseconds = [](double sec) {
    return std::chrono::milliseconds(std::llround(sec * 1e3));
  };
  return {milliseconds(config.rendezvous_timeout_sec), milliseconds(config.collective_timeout_sec)};
}

}  // namespace

int run_stages(const std::vector<Stage>& stages, const ComponentRegistries& registries,
               const RankEnvironment& environment) {
  const StopSignal stop_signal;
  Rendezvous rendezvous(environment, timeouts(stages.front().config.training.distributed));
  try {
    return run_all(stages, registries, rendezvous);
  } catch (const std::exception& error) {
    if (environment.num_ranks == 1) throw;
    rendezvous.report_failure(describe_error_chain(error));
    std::throw_with_nested(
        Error(fmt::format("rank {} of {}", environment.rank, environment.num_ranks)));
  }
}

}  // namespace zoetrope
