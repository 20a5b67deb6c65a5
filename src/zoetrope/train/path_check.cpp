#include "zoetrope/train/path_check.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/config/location_of.h"
#include "zoetrope/train/stage_reference.h"

namespace zoetrope {
namespace {

using config::location_of;
using config::Node;

/// Keys of components that name files; everything else is left alone.
constexpr std::string_view kFileKeys[] = {"transformer_override_safetensor", "dataset_file"};
constexpr std::string_view kModelKey = "init_from";

class PathCheck {
 public:
  PathCheck(const Node& document, config::Issues& issues) : document_(document), issues_(issues) {}

  void model(const std::string& path, const std::string& name) {
    if (is_stage_reference(name)) return;  // what a stage exports is not there before it has run
    try {
      resolve_model_path(name);
    } catch (const Error& error) {
      issues_.add(location_of(document_, path), path, error.what());
    }
  }

  void existing(const std::string& path, const std::string& name, const char* wanted) {
    std::error_code error;
    if (std::filesystem::exists(expand_user(name), error)) return;
    issues_.add(location_of(document_, path), path,
                fmt::format("must be {}, but there is no '{}'", wanted, name));
  }

  void components(const std::string& section, const NamedComponents& components) {
    for (const auto& [name, component] : components) {
      if (component.target == nullptr) continue;
      const Node written = config::TargetTable::write(component);
      for (const auto& [key, value] : written.entries()) {
        if (!value.is_scalar()) continue;
        const std::string path = fmt::format("{}.{}.{}", section, name, key);
        if (key == kModelKey) model(path, value.text());
        const bool is_file =
            std::find(std::begin(kFileKeys), std::end(kFileKeys), key) != std::end(kFileKeys);
        if (is_file) existing(path, value.text(), "an existing file or folder");
      }
    }
  }

 private:
  const Node& document_;
  config::Issues& issues_;
};

}  // namespace

void check_config_paths(const RunConfig& run, config::Issues& issues) {
  PathCheck check(run.raw, issues);
  check.components("models", run.models);
  check.components("callbacks", run.callbacks);
  for (const DataSource& source : run.training.data.data_path.sources) {
    if (source.repeat > 0)
      check.existing("training.data.data_path", source.path, "an existing folder");
  }
  const Node* training = run.raw.is_map() ? run.raw.find("training") : nullptr;
  const bool names_model_path =
      training != nullptr && training->is_map() && training->find("model_path") != nullptr;
  if (names_model_path) check.model("training.model_path", run.training.model_path);
  const std::string resume = run.training.checkpoint.resume_from_checkpoint.value_or("");
  if (!resume.empty() && resume != "latest") {
    check.existing("training.checkpoint.resume_from_checkpoint", resume,
                   "`latest` or an existing checkpoint folder");
  }
}

}  // namespace zoetrope
