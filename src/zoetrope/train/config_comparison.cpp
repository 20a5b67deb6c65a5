#include "zoetrope/train/config_comparison.h"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/config/schema.h"

namespace zoetrope {
namespace {

using config::Node;
using Scalars = std::vector<std::pair<std::string, std::string>>;

// Where a run reads its state from says nothing about the run.
constexpr const char* kIgnored[] = {"training.checkpoint.resume_from_checkpoint"};

// Changing these would give the restored weights, moments or draws another meaning.
constexpr const char* kFixed[] = {"method._target_", "training.data.seed", "training.data.sampler"};
constexpr const char* kFixedOfModels[] = {"_target_",  "trainable",  "lora.enable",
                                          "lora.rank", "lora.alpha", "lora.target_modules"};

void collect(const Node& node, const std::string& path, Scalars& scalars) {
  if (node.is_map()) {
    for (const auto& [key, value] : node.entries())
      collect(value, config::child_path(path, key), scalars);
    return;
  }
  if (!node.is_list()) {
    scalars.emplace_back(path, node.is_null() ? "null" : node.text());
    return;
  }
  std::vector<std::string> items;
  for (size_t i = 0; i < node.items().size(); ++i) {
    const Node& item = node.items()[i];
    if (item.is_map()) {  // whose keys may come in another order
      collect(item, fmt::format("{}[{}]", path, i), scalars);
    } else {
      items.push_back(item.is_scalar() ? item.text() : write_yaml(item));
    }
  }
  const bool only_maps = items.empty() && !node.items().empty();
  if (!only_maps) scalars.emplace_back(path, fmt::format("[{}]", fmt::join(items, ", ")));
}

Scalars compared_scalars(const Node& document) {
  Scalars scalars = config_scalars(document);
  std::erase_if(scalars, [](const auto& entry) {
    return std::find(std::begin(kIgnored), std::end(kIgnored), entry.first) != std::end(kIgnored);
  });
  return scalars;
}

bool is_fixed(const std::string& path) {
  if (std::find(std::begin(kFixed), std::end(kFixed), path) != std::end(kFixed)) return true;
  const std::string models = "models.";
  if (!path.starts_with(models)) return false;
  const size_t role_end = path.find('.', models.size());
  if (role_end == std::string::npos) return false;
  const std::string key = path.substr(role_end + 1);
  return std::any_of(std::begin(kFixedOfModels), std::end(kFixedOfModels),
                     [&](const char* fixed) { return key == fixed; });
}

}  // namespace

Scalars config_scalars(const Node& document) {
  Scalars scalars;
  collect(document, "", scalars);
  return scalars;
}

std::vector<ConfigDifference> compare_configs(const Node& checkpoint, const Node& run,
                                              ConfigForm form) {
  const Scalars before = compared_scalars(checkpoint);
  std::map<std::string, std::string> remaining(before.begin(), before.end());
  std::vector<ConfigDifference> differences;
  for (const auto& [path, value] : compared_scalars(run)) {
    const auto found = remaining.find(path);
    const bool absent = found == remaining.end();
    const std::string then = absent ? "absent" : found->second;
    if (then != value && !(absent && form == ConfigForm::kWritten))
      differences.push_back({path, then, value, is_fixed(path)});
    if (!absent) remaining.erase(found);
  }
  if (form == ConfigForm::kWritten) return differences;
  for (const auto& [path, value] : before) {
    if (remaining.contains(path)) differences.push_back({path, value, "absent", is_fixed(path)});
  }
  return differences;
}

void report_differences(const std::vector<ConfigDifference>& differences,
                        const std::string& checkpoint) {
  std::vector<std::string> faults;
  for (const ConfigDifference& difference : differences) {
    if (difference.is_fault) {
      faults.push_back(fmt::format("{}: must be {} as in the checkpoint, but got {}",
                                   difference.path, difference.checkpoint, difference.run));
    } else {
      log_info("resume: {} is now {}, was {}", difference.path, difference.run,
               difference.checkpoint);
    }
  }
  if (faults.empty()) return;
  fail<ConfigError>(
      "{}: cannot be resumed with this config:\n  {}\nstart a run of its own instead, "
      "with models.<role>.init_from set to the checkpoint's exported weights",
      checkpoint, fmt::join(faults, "\n  "));
}

}  // namespace zoetrope
