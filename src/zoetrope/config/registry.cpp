#include "zoetrope/config/registry.h"

#include <algorithm>

#include <fmt/format.h>

#include "zoetrope/base/nearest.h"

namespace zoetrope::config {
namespace {

constexpr const char* kTargetKey = "_target_";

bool is_named(const Target& target, const std::string& name) {
  return target.name == name ||
         std::find(target.aliases.begin(), target.aliases.end(), name) != target.aliases.end();
}

/// Knows keys and takes any value: what a key may hold is decided when its target is built.
class KeyListSchema : public AnySchema {
 public:
  explicit KeyListSchema(const std::vector<std::string>& keys) {
    make_default_ = [] { return std::make_shared<Node>(); };
    for (const std::string& key : keys) {
      Field field;
      field.name = key;
      field.doc = "A key of FastVideo's.";
      field.type = "anything";
      field.read = [](const Node&, void*, const ReadContext&) { return true; };
      field.write = [](const void*) { return Node::null(); };
      field.nested = Type<Node>::schema;
      fields_.push_back(std::move(field));
    }
  }
};

/// The name under `_target_`, or the default; an issue and an empty text when there is neither.
std::string read_target_name(const Node& node, const std::string& kind,
                             const std::string& default_target, const ReadContext& context) {
  const Node* given = node.find(kTargetKey);
  if (given == nullptr) {
    if (default_target.empty()) {
      refuse(node, context,
             fmt::format("must have a '_target_' key that names a {}, but has none", kind));
    }
    return default_target;
  }
  std::string name;
  read_value(*given, name, {context.issues, child_path(context.path, kTargetKey)});
  return name;
}

}  // namespace

const Target* TargetTable::find(const std::string& name) const {
  for (const auto& target : targets_) {
    if (is_named(*target, name)) return target.get();
  }
  return nullptr;
}

Component TargetTable::read(const Node& node, const ReadContext& context,
                            const std::string& default_target) const {
  if (!node.is_null() && !expect_map(node, context)) return {};
  const std::string name = read_target_name(node, kind_, default_target, context);
  if (name.empty()) return {};
  const Node* given = node.find(kTargetKey);
  const Node& where = given != nullptr ? *given : node;
  const ReadContext target_context{
      context.issues, given != nullptr ? child_path(context.path, kTargetKey) : context.path};
  const Target* target = find(name);
  if (target == nullptr) {
    std::vector<std::string> names;
    for (const auto& known : targets_) {
      names.push_back(known->name);
      names.insert(names.end(), known->aliases.begin(), known->aliases.end());
    }
    std::string hint = did_you_mean(name, names);
    if (hint.empty()) hint = "; `zoetrope targets` lists them";
    refuse(where, target_context,
           fmt::format("must be a known {}, but got '{}'{}", kind_, name, hint));
    return {};
  }
  Component component{.target = target, .config = nullptr};
  if (target->schema != nullptr) {
    component.config = target->schema->make_default();
    component.is_complete =
        target->schema->read(node, component.config.get(), context, {kTargetKey});
  }
  if (target->planned.empty()) return component;
  refuse(where, target_context,
         fmt::format("must be a {} that can be used, but '{}' {}", kind_, name, target->planned));
  return {};
}

Node TargetTable::write(const Component& component) {
  Node map = Node::map();
  map.set(kTargetKey, write_value(component.target->name));
  const Node fields = component.target->schema->write(component.config.get());
  for (const auto& [key, value] : fields.entries()) map.set(key, value);
  return map;
}

void TargetTable::add_planned(Target target, const std::vector<std::string>& keys) {
  target.kind = kind_;
  if (!keys.empty()) {
    planned_schemas_.push_back(std::make_shared<KeyListSchema>(keys));
    target.schema = planned_schemas_.back().get();
  }
  add_target(std::move(target));
}

Target& TargetTable::add_target(Target target) {
  std::vector<std::string> names = target.aliases;
  names.push_back(target.name);
  for (const std::string& name : names) {
    if (find(name) != nullptr)
      fail("{} '{}': must be registered once, but got it twice", kind_, name);
  }
  targets_.push_back(std::make_unique<Target>(std::move(target)));
  return *targets_.back();
}

}  // namespace zoetrope::config
