#include "zoetrope/train/stage_start.h"

#include <algorithm>

#include <fmt/format.h>

#include "zoetrope/base/nearest.h"
#include "zoetrope/checkpoint/checkpoint_folder.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using config::Node;

/// A value that names a stage.
struct StageStart {
  std::string path;
  const Node* value;
  bool adapters = false;  ///< lora.init_from
};

/// What a stage leaves for later ones.
struct StageExport {
  bool adapters = false;
  bool has_average = false;
  int64_t average_start = 0;  ///< first averaged step
};

std::vector<StageStart> stage_starts(const RunConfig& run) {
  std::vector<StageStart> starts;
  const auto add = [&](const Node& section, const std::string& path, bool adapters) {
    const Node* value = section.is_map() ? section.find("init_from") : nullptr;
    if (value != nullptr && value->is_scalar() && is_stage_reference(value->text()))
      starts.push_back({path + ".init_from", value, adapters});
  };
  const Node* models = run.raw.is_map() ? run.raw.find("models") : nullptr;
  if (models == nullptr || !models->is_map()) return starts;
  for (const auto& [role, model] : models->entries()) {
    const std::string path = "models." + role;
    add(model, path, false);
    const Node* lora = model.is_map() ? model.find("lora") : nullptr;
    if (lora != nullptr) add(*lora, path + ".lora", true);
  }
  return starts;
}

StageExport stage_export(const RunConfig& run, const TargetTables& tables) {
  StageExport exported;
  for (const auto& [role, model] : run.models) {
    if (role != "student" || model.target == nullptr) continue;
    const Node written = config::TargetTable::write(model);
    const Node* lora = written.find("lora");
    exported.adapters = lora != nullptr && lora->find("enable")->text() == "true";
  }
  const config::Target* average = tables.callbacks.find("ema");
  for (const auto& [name, callback] : run.callbacks) {
    if (callback.target == nullptr || callback.target != average) continue;
    exported.has_average = true;
    exported.average_start =
        std::stoll(config::TargetTable::write(callback).find("start_iter")->text());
  }
  return exported;
}

std::string weights_fault(const Stage& source, const StageReference& reference,
                          const StageStart& start, const StageExport& exported) {
  if (exported.adapters && !start.adapters) {
    return fmt::format(
        "must name a stage that exports a model, but '{0}' trains adapters; start from its own "
        "model and give them as lora.init_from: stage:{0}",
        source.name);
  }
  if (!exported.adapters && start.adapters) {
    return fmt::format("must name a stage that trains adapters, but '{}' trains the whole network",
                       source.name);
  }
  if (!reference.averaged) return "";
  if (!exported.has_average) {
    return fmt::format("must name a stage with the callback 'ema', but '{}' has none", source.name);
  }
  const int64_t num_steps = source.config.training.loop.max_train_steps;
  if (exported.average_start <= num_steps) return "";
  return fmt::format(
      "must name a stage that averages weights, but in '{}' ema.start_iter is {} and "
      "training.loop.max_train_steps {}",
      source.name, exported.average_start, num_steps);
}

std::string reference_fault(const std::vector<Stage>& stages, size_t index, const StageStart& start,
                            const TargetTables& tables) {
  const std::string& given = start.value->text();
  const std::optional<StageReference> reference = parse_stage_reference(given);
  if (!reference) {
    return fmt::format("must be stage:<name> or stage:<name>:ema, but got '{}'", given);
  }
  if (stages.front().name.empty()) {
    return fmt::format(
        "must be a folder or a Hugging Face name, but got '{}' and the config has no "
        "`stages`",
        given);
  }
  const auto found = std::find_if(stages.begin(), stages.end(), [&](const Stage& stage) {
    return stage.name == reference->stage;
  });
  if (found == stages.end()) {
    std::vector<std::string> names;
    names.reserve(stages.size());
    for (const Stage& stage : stages) names.push_back(stage.name);
    return fmt::format("must name an earlier stage, but there is no stage '{}'{}", reference->stage,
                       did_you_mean(reference->stage, names));
  }
  if (found >= stages.begin() + static_cast<std::ptrdiff_t>(index)) {
    return fmt::format("must name an earlier stage, but '{}' is {}", reference->stage,
                       found->name == stages[index].name ? "this one" : "a later one");
  }
  return weights_fault(*found, *reference, start, stage_export(found->config, tables));
}

fs::path exported_folder(const std::vector<Stage>& stages, const StageStart& start) {
  const StageReference reference = *parse_stage_reference(start.value->text());
  size_t index = 0;
  while (stages[index].name != reference.stage) ++index;
  const std::string name = start.adapters ? "lora" : "diffusers";
  return stage_folder(stages, index) / (reference.averaged ? name + "_ema" : name);
}

/// Trackers that know only a name must tell the stages of a run apart.
std::string tracked_name(const Stage& stage) {
  const TrainingConfig& training = stage.config.training;
  const std::string run =
      training.tracker.run_name.empty()
          ? fs::absolute(training.checkpoint.output_dir).lexically_normal().filename().string()
          : training.tracker.run_name;
  return run + "-" + stage.name;
}

}  // namespace

void check_stage_references(const std::vector<Stage>& stages, size_t index,
                            const TargetTables& tables, config::Issues& issues) {
  for (const StageStart& start : stage_starts(stages[index].config)) {
    const std::string fault = reference_fault(stages, index, start, tables);
    if (!fault.empty()) issues.add(start.value->location(), start.path, fault);
  }
}

fs::path stage_folder(const std::vector<Stage>& stages, size_t index) {
  return fs::path(stages[index].config.training.checkpoint.output_dir) /
         fmt::format("{:02}-{}", index + 1, stages[index].name);
}

RunConfig stage_run(const std::vector<Stage>& stages, size_t index, const TargetTables& tables) {
  const Stage& stage = stages[index];
  const std::string folder = stage_folder(stages, index).string();
  const bool resumes = !list_checkpoints(folder).empty();
  std::vector<config::Override> places = {
      {"training.checkpoint.output_dir", folder, {}},
      {"training.checkpoint.resume_from_checkpoint", resumes ? "latest" : "null", {}},
      {"training.tracker.run_name", tracked_name(stage), {}}};
  for (const StageStart& start : stage_starts(stage.config))
    places.push_back({start.path, exported_folder(stages, start).string(), {}});
  Node document = stage.config.raw;
  apply_overrides(document, places);
  config::Issues issues;
  RunConfig run = read_run_config(document, tables, issues);
  issues.throw_if_any();
  return run;
}

}  // namespace zoetrope
