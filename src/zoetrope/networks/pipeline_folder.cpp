#include "zoetrope/networks/pipeline_folder.h"

#include <algorithm>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/nearest.h"
#include "zoetrope/networks/component_config.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Components without weights, and the files that each must have one of.
struct PlainComponent {
  const char* name;
  std::vector<const char*> files;
};

const std::vector<PlainComponent>& plain_components() {
  static const std::vector<PlainComponent> components = {
      {"scheduler", {"scheduler_config.json"}},
      {"tokenizer", {"spiece.model"}},
      {"image_processor", {"preprocessor_config.json"}},
  };
  return components;
}

bool is_class_entry(const json& value) {
  return value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string();
}

// Diffusers writes [null, null] for components that a pipeline does without.
bool is_absent_entry(const json& value) {
  return value.is_array() && value.size() == 2 && value[0].is_null() && value[1].is_null();
}

}  // namespace

PipelineFolder::PipelineFolder(fs::path folder) : path_(std::move(folder)) {
  const fs::path index = path_ / "model_index.json";
  if (!fs::is_directory(path_))
    fail<CheckpointError>("{}: must be a pipeline folder, but is no folder", path_.string());
  if (!fs::is_regular_file(index)) {
    fail<CheckpointError>("{}: must be a Diffusers pipeline folder, but has no model_index.json",
                          path_.string());
  }
  // Ordered, so that components keep the order of the file.
  const auto parsed =
      nlohmann::ordered_json::parse(read_file(index), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || !parsed.contains("_class_name") ||
      !parsed.at("_class_name").is_string()) {
    fail<CheckpointError>("{}: must be a JSON object with '_class_name'", index.string());
  }
  class_name_ = parsed.at("_class_name");
  for (const auto& [name, value] : parsed.items()) {
    // Keys with an underscore and plain values are options of the pipeline.
    if (name.starts_with("_") || !value.is_array() || is_absent_entry(value)) continue;
    if (!is_class_entry(value)) {
      fail<CheckpointError>("{}: '{}' must be [library, class], but is {}", index.string(), name,
                            value.dump());
    }
    components_.push_back({name, value[0], value[1]});
  }
}

bool PipelineFolder::has(const std::string& component) const {
  return std::any_of(components_.begin(), components_.end(),
                     [&](const PipelineComponent& entry) { return entry.name == component; });
}

fs::path PipelineFolder::component_folder(const std::string& component) const {
  if (!has(component)) {
    std::vector<std::string> names;
    for (const PipelineComponent& entry : components_) names.push_back(entry.name);
    fail<CheckpointError>("{}: the pipeline must have a '{}', but has {}{}", path_.string(),
                          component,
                          names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", ")),
                          did_you_mean(component, names));
  }
  fs::path folder = path_ / component;
  if (!fs::is_directory(folder)) {
    fail<CheckpointError>("{}: must be the folder of the pipeline's '{}', but is missing",
                          folder.string(), component);
  }
  return folder;
}

std::vector<std::string> PipelineFolder::faults() const {
  std::vector<std::string> all;
  for (const PipelineComponent& component : components_) {
    const std::vector<std::string> faults = faults_of(component);
    all.insert(all.end(), faults.begin(), faults.end());
  }
  return all;
}

std::vector<std::string> PipelineFolder::faults_of(const PipelineComponent& component) const {
  const fs::path folder = path_ / component.name;
  if (!fs::is_directory(folder)) {
    return {fmt::format("{}: must be the folder of {}, but is missing", folder.string(),
                        component.class_name)};
  }
  const auto& plain = plain_components();
  const auto found = std::find_if(plain.begin(), plain.end(), [&](const PlainComponent& entry) {
    return component.name == entry.name;
  });
  std::vector<std::string> faults;
  if (found != plain.end()) {
    const bool any = std::any_of(found->files.begin(), found->files.end(), [&](const char* file) {
      return fs::is_regular_file(folder / file);
    });
    if (!any) {
      faults.push_back(fmt::format("{}: must have {}, but has not", folder.string(),
                                   fmt::join(found->files, " or ")));
    }
    return faults;
  }
  if (!fs::is_regular_file(folder / "config.json")) {
    faults.push_back(fmt::format("{}: must have config.json, but has not", folder.string()));
  }
  try {
    const WeightFolder weights(folder);
  } catch (const CheckpointError& error) {
    faults.emplace_back(error.what());
  }
  return faults;
}

double pipeline_flow_shift(const std::filesystem::path& pipeline_folder) {
  constexpr double kDefaultShift = 3.0;
  const std::filesystem::path path = pipeline_folder / "scheduler" / "scheduler_config.json";
  if (!std::filesystem::exists(path)) return kDefaultShift;
  const ComponentConfig config(path);
  return config.get_or("flow_shift", config.get_or("shift", kDefaultShift));
}

}  // namespace zoetrope
