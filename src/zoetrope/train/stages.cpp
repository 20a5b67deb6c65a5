#include "zoetrope/train/stages.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "zoetrope/base/nearest.h"
#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/config/merge.h"
#include "zoetrope/train/stage_start.h"

namespace zoetrope {
namespace {

using config::child_path;
using config::Issues;
using config::Node;
using config::Override;

const Node* find_path(const Node& node, std::initializer_list<std::string_view> keys) {
  const Node* found = &node;
  for (const std::string_view key : keys) {
    found = found->is_map() ? found->find(key) : nullptr;
    if (found == nullptr) return nullptr;
  }
  return found;
}

struct StageOverrides {
  std::vector<Override> common;
  std::map<std::string, std::vector<Override>> own;  ///< stage -> overrides of its sections
};

StageOverrides split_overrides(const std::vector<Override>& overrides, const Node& stages,
                               Issues& issues) {
  const std::string prefix = "stages.";
  std::vector<std::string> names;
  for (const auto& [name, entry] : stages.entries()) names.push_back(name);
  StageOverrides split;
  for (const Override& override : overrides) {
    if ((override.key + ".").rfind(prefix, 0) != 0) {
      split.common.push_back(override);
      continue;
    }
    const size_t begin = std::min(prefix.size(), override.key.size());
    const size_t dot = override.key.find('.', begin);
    const std::string name = override.key.substr(begin, dot - begin);
    if (dot == std::string::npos || stages.find(name) == nullptr) {
      issues.add(override.location, "stages",
                 fmt::format("must be --stages.<name>.<section>.<key> with the name of a stage, "
                             "but got '{}'{}",
                             override.key, did_you_mean(name, names)));
      continue;
    }
    split.own[name].push_back({override.key.substr(dot + 1), override.value, override.location});
  }
  return split;
}

bool is_folder_name(const std::string& name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), is_allowed);
}

void check_entry(const std::string& name, const Node& entry, Issues& issues) {
  const std::string path = child_path("stages", name);
  if (!is_folder_name(name)) {
    issues.add(entry.location(), path,
               "must have a name of letters, digits, '_' and '-', since it becomes a folder's");
  }
  for (const char* key : {"output_dir", "resume_from_checkpoint"}) {
    const Node* given = find_path(entry, {"training", "checkpoint", key});
    if (given == nullptr) continue;
    issues.add(given->location(), fmt::format("{}.training.checkpoint.{}", path, key),
               "must be given for the whole run, outside of `stages`");
  }
}

void check_resume(const Node& document, Issues& issues) {
  const Node* given = find_path(document, {"training", "checkpoint", "resume_from_checkpoint"});
  if (given == nullptr || !given->is_scalar() || given->text().empty() || is_latest(given->text()))
    return;
  issues.add(
      given->location(), "training.checkpoint.resume_from_checkpoint",
      fmt::format("must be `latest` or absent in a config with `stages`, which goes on where "
                  "its run folder stopped, but got {}",
                  given->describe()));
}

/// The student's start is the stage's own affair: overrides of all stages say where the first
/// begins.
void set_student_start(Node& document, const Node& entry, const std::string& previous) {
  if (find_path(document, {"models", "student"}) == nullptr) return;
  Node& student = *document.find("models")->find("student");
  if (!student.is_map()) return;
  const Node* given = find_path(entry, {"models", "student", "init_from"});
  if (given != nullptr) {
    student.set("init_from", *given);
    return;
  }
  student.set("init_from",
              Node::scalar(write_stage_reference({previous}), true, student.location()));
  // It would replace the weights that the stage before has trained.
  if (find_path(entry, {"models", "student", "transformer_override_safetensor"}) == nullptr)
    student.erase("transformer_override_safetensor");
}

/// `own` is in `entry` already; it is applied again because it is stronger than `common`.
Node stage_document(const Node& base, const Node& entry, const std::string& previous,
                    const std::vector<Override>& common, const std::vector<Override>& own) {
  Node document = merge(base, entry);
  apply_overrides(document, common);
  if (!previous.empty()) set_student_start(document, entry, previous);
  for (const Override& override : own) {
    const bool took_away = parse_override_value(override.value, override.location).is_null();
    if (!took_away) apply_overrides(document, std::vector<Override>{override});
  }
  return document;
}

std::vector<Stage> read_plain(const Node& document, const std::vector<Override>& overrides,
                              const TargetTables& tables, Issues& issues) {
  Node plain = document;
  apply_overrides(plain, overrides);
  std::vector<Stage> stages = {{"", read_run_config(plain, tables, issues)}};
  check_stage_references(stages, 0, tables, issues);
  return stages;
}

}  // namespace

std::vector<Stage> read_stages(const Node& document, const std::vector<Override>& overrides,
                               const TargetTables& tables, Issues& issues) {
  const Node* entries = document.is_map() ? document.find("stages") : nullptr;
  if (entries == nullptr) return read_plain(document, overrides, tables, issues);
  if (!entries->is_map() || entries->entries().empty()) {
    refuse(*entries, {issues, "stages"},
           fmt::format("must be a map of stage name to the sections that differ, but got {}",
                       entries->describe()));
    return {};
  }
  StageOverrides split = split_overrides(overrides, *entries, issues);
  Node base = document;
  base.erase("stages");
  std::vector<Stage> stages;
  std::vector<std::pair<std::string, Issues>> faults;
  for (const auto& [name, given] : entries->entries()) {
    Node entry = given.is_null() ? Node::map(given.location()) : given;
    if (!expect_map(entry, {issues, child_path("stages", name)})) continue;
    apply_overrides(entry, split.own[name]);
    check_entry(name, entry, issues);
    const Node merged = stage_document(base, entry, stages.empty() ? "" : stages.back().name,
                                       split.common, split.own[name]);
    faults.emplace_back(fmt::format("stage '{}'", name), Issues());
    check_resume(merged, faults.back().second);
    stages.push_back({name, read_run_config(merged, tables, faults.back().second)});
  }
  for (size_t i = 0; i < stages.size(); ++i)
    check_stage_references(stages, i, tables, faults[i].second);
  issues.add_parts(faults);
  return stages;
}

Node write_stages(const std::vector<Stage>& stages) {
  if (stages.front().name.empty()) return write_run_config(stages.front().config);
  Node shared = Node::map();
  Node entries = Node::map();
  for (const Stage& stage : stages) {
    Node config = write_run_config(stage.config);
    Node& training = *config.find("training");
    // Follows from the student's start.
    if (is_stage_reference(training.find("model_path")->text())) training.erase("model_path");
    Node& checkpoint = *training.find("checkpoint");
    for (const char* key : {"output_dir", "resume_from_checkpoint"}) {
      shared.set(key, *checkpoint.find(key));
      checkpoint.erase(key);
    }
    entries.set(stage.name, std::move(config));
  }
  Node training = Node::map();
  training.set("checkpoint", std::move(shared));
  Node document = Node::map();
  document.set("training", std::move(training));
  document.set("stages", std::move(entries));
  return document;
}

}  // namespace zoetrope
