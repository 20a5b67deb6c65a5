// Names that `_target_` may take: their config type, factory, documentation and aliases. Filled by
// explicit calls in the catalog (apps/zoetrope/catalog.cpp); a static self-registering object would
// be dropped by the linker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "zoetrope/base/error.h"
#include "zoetrope/config/network_passes.h"
#include "zoetrope/config/run_facts.h"
#include "zoetrope/config/schema.h"

namespace zoetrope::config {

/// A role that a method works with, and what its model must be.
struct RoleRequirement {
  std::string role;
  bool trainable = true;
  bool causal = false;  ///< otherwise any model
  bool optional = false;
};

/// Adds an issue for everything in a method's config (of its struct type, read from `node`, with
/// every field taken) that does not fit the rest of the run.
using RunCheck = std::function<void(const void* config, const Node& node, const RunFacts& run,
                                    const ReadContext& context)>;

/// What a method with this config (of its struct type) does with clips of `num_latent_frames`.
using WorkOfMethod = std::function<MethodWork(const void* config, int64_t num_latent_frames)>;

/// One `_target_` as config code sees it.
struct Target {
  std::string kind = {};  ///< `model`, `method`, `callback`, `tracker`, `pipeline`
  std::string name;       ///< the name that resolved configs use (FastVideo's dotted path)
  std::vector<std::string> aliases = {};  ///< other dotted paths and the short name
  std::string doc;                        ///< one line
  const AnySchema* schema = nullptr;      ///< null for a target that is known but not built yet
  std::string planned = {};  ///< why it cannot be used yet; empty for a target that exists
  /// Callbacks that a run of this method has without asking, by their short names.
  std::vector<std::string> default_callbacks = {};
  /// Roles of a method, the student first.
  std::vector<RoleRequirement> roles = {};
  bool causal = false;         ///< a model that predicts block by block
  std::string data_type = {};  ///< of the rows that a model reads whatever the config says
  RunCheck check_run = {};     ///< of a method
  WorkOfMethod work = {};      ///< of a method

  /// Such as `DMD2Method`.
  std::string class_name() const { return name.substr(name.rfind('.') + 1); }
};

/// A component as the config gave it: which target, and its typed config struct.
struct Component {
  const Target* target = nullptr;
  std::shared_ptr<void> config;  ///< the struct that `target->schema` describes
  bool is_complete = false;      ///< whether every field was taken

  template <class Struct>
  const Struct& as() const {
    return *static_cast<const Struct*>(config.get());
  }
};

/// All targets of one kind, looked up by name or alias.
class TargetTable {
 public:
  explicit TargetTable(std::string kind) : kind_(std::move(kind)) {}
  virtual ~TargetTable() = default;

  const std::string& kind() const { return kind_; }
  const std::vector<std::unique_ptr<Target>>& targets() const { return targets_; }
  const Target* find(const std::string& name) const;

  /// Reads `{_target_: name, ...}` (or uses `default_target` when there is no `_target_`) into a
  /// typed component. Unknown and planned targets are issues; the returned component is then empty.
  Component read(const Node& node, const ReadContext& context,
                 const std::string& default_target = "") const;
  /// The component with every field, `_target_` first.
  static Node write(const Component& component);

  /// A name that FastVideo has and that cannot be used here yet. When `keys` are given, a config
  /// that uses it is checked for other keys too, so that it has no faults but this one.
  void add_planned(Target target, const std::vector<std::string>& keys = {});

 protected:
  Target& add_target(Target target);

 private:
  std::string kind_;
  std::vector<std::unique_ptr<Target>> targets_;
  std::vector<std::shared_ptr<const AnySchema>> planned_schemas_;
};

/// Targets that build a `Base` from their config struct and `Deps...`.
template <class Base, class... Deps>
class Registry : public TargetTable {
 public:
  using TargetTable::TargetTable;

  /// Registers `Impl`, which must have `Impl(const Config&, Deps...)`, and where they are there its
  /// static `MethodWork work(const Config&, int64_t num_latent_frames)` and the config's
  /// `check_run(const Node&, const RunFacts&, const ReadContext&) const`. What is special about its
  /// target can be added to the result.
  template <class Impl, class Config>
  Target& add(std::string name, std::vector<std::string> aliases, std::string doc) {
    Target& target = add_target(
        {kind(), std::move(name), std::move(aliases), std::move(doc), &schema_of<Config>()});
    if constexpr (requires(const Config& config) { Impl::work(config, int64_t{0}); }) {
      target.work = [](const void* config, int64_t num_latent_frames) {
        return Impl::work(*static_cast<const Config*>(config), num_latent_frames);
      };
    }
    if constexpr (requires(const Config& config, const Node& node, const ReadContext& context) {
                    config.check_run(node, RunFacts{}, context);
                  }) {
      target.check_run = [](const void* config, const Node& node, const RunFacts& run,
                            const ReadContext& context) {
        static_cast<const Config*>(config)->check_run(node, run, context);
      };
    }
    factories_[&target] = [](const Component& component, Deps... deps) -> std::unique_ptr<Base> {
      return std::make_unique<Impl>(component.as<Config>(), std::forward<Deps>(deps)...);
    };
    return target;
  }

  std::unique_ptr<Base> make(const Component& component, Deps... deps) const {
    return factories_.at(component.target)(component, std::forward<Deps>(deps)...);
  }

 private:
  std::map<const Target*, std::function<std::unique_ptr<Base>(const Component&, Deps...)>>
      factories_;
};

}  // namespace zoetrope::config
