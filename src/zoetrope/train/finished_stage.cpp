#include "zoetrope/train/finished_stage.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/train/config_comparison.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using config::Node;

/// The resolved config of a stage whose exports are all there.
constexpr const char* kFinished = "finished.yaml";

// These say how a stage was run, not what it has learned. A section ends with a dot.
constexpr std::string_view kWithoutInfluence[] = {
    "training.checkpoint.",
    "training.data.dataloader_num_workers",
    "training.distributed.collective_timeout_sec",
    "training.distributed.device",
    "training.distributed.hsdp_replicate_dim",
    "training.distributed.hsdp_shard_dim",
    "training.distributed.num_gpus",
    "training.distributed.rendezvous_timeout_sec",
    "training.distributed.sp_size",
    "training.distributed.tp_size",
    "training.model.enable_gradient_checkpointing_type",
    "training.tracker."};

// Callbacks that only look at the run.
constexpr const char* kObservers[] = {"action_sensitivity", "distillation_health", "validation"};

constexpr std::string_view kModels = "models.";
constexpr std::string_view kCallbacks = "callbacks.";

std::string_view name_after(std::string_view section, std::string_view path) {
  return path.substr(section.size(), path.find('.', section.size()) - section.size());
}

bool is_observer(const Node& document, std::string_view name,
                 const config::TargetTable& callbacks) {
  const Node* section = document.find("callbacks");
  const Node* callback = section != nullptr ? section->find(name) : nullptr;
  if (callback == nullptr) return true;  // of the other document
  const Node* target = callback->find("_target_");
  return target != nullptr &&
         std::any_of(std::begin(kObservers), std::end(kObservers), [&](const char* observer) {
           return callbacks.find(observer) != nullptr &&
                  callbacks.find(observer) == callbacks.find(target->text());
         });
}

bool has_influence(const std::string& path, const Node& then, const Node& now,
                   const config::TargetTable& callbacks) {
  if (path.starts_with(kCallbacks)) {
    const std::string_view name = name_after(kCallbacks, path);
    return !is_observer(then, name, callbacks) || !is_observer(now, name, callbacks);
  }
  if (path.starts_with(kModels) && path.ends_with(".enable_gradient_checkpointing_type"))
    return false;
  return std::none_of(std::begin(kWithoutInfluence), std::end(kWithoutInfluence),
                      [&](std::string_view key) {
                        return key.ends_with('.') ? path.starts_with(key) : path == key;
                      });
}

}  // namespace

bool is_finished(const fs::path& folder) {
  return fs::exists(folder / kFinished);
}

void mark_finished(const Stage& stage, const fs::path& folder) {
  write_file_atomically(folder / kFinished, config::write_yaml(write_run_config(stage.config)));
}

void check_unchanged(const Stage& stage, const fs::path& folder,
                     const config::TargetTable& callbacks) {
  const Node then = config::parse_yaml_file(folder / kFinished);
  const Node now = write_run_config(stage.config);
  std::vector<std::string> changes;
  for (const ConfigDifference& difference : compare_configs(then, now, ConfigForm::kResolved)) {
    if (!has_influence(difference.path, then, now, callbacks)) continue;
    changes.push_back(fmt::format("{}: must be {} as it was, but got {}", difference.path,
                                  difference.checkpoint, difference.run));
  }
  if (changes.empty()) return;
  fail<ConfigError>(
      "stages.{}: a finished stage must keep its config:\n  {}\nto train it again, remove {} and "
      "the folders of the stages after it, or choose another training.checkpoint.output_dir",
      stage.name, fmt::join(changes, "\n  "), folder.string());
}

}  // namespace zoetrope
