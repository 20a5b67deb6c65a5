#include "zoetrope/config/schema.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "zoetrope/base/nearest.h"
#include "zoetrope/config/scalar.h"

namespace zoetrope::config {
namespace {

bool expect(const Node& node, const ReadContext& context, const std::string& wanted) {
  return refuse(node, context, fmt::format("must be {}, but got {}", wanted, node.describe()));
}

bool accepts(const Constraint& constraint, const Node& node) {
  if (constraint.accepts_number) {
    const auto number = parse_number(node.text());
    return number && constraint.accepts_number(*number);
  }
  return !constraint.accepts_text || constraint.accepts_text(node.text());
}

std::string number_text(double value) {
  return std::trunc(value) == value ? fmt::format("{:.0f}", value) : fmt::format("{}", value);
}

}  // namespace

Constraint at_least(double minimum) {
  return {.text = "at least " + number_text(minimum),
          .accepts_number = [minimum](double value) { return value >= minimum; }};
}

Constraint greater_than(double minimum) {
  return {.text = "greater than " + number_text(minimum),
          .accepts_number = [minimum](double value) { return value > minimum; }};
}

Constraint between(double minimum, double maximum) {
  return {.text = fmt::format("between {} and {}", number_text(minimum), number_text(maximum)),
          .accepts_number = [=](double value) { return value >= minimum && value <= maximum; }};
}

Constraint one_of(std::vector<std::string> choices) {
  Constraint constraint{.text = fmt::format("one of {}", fmt::join(choices, ", ")),
                        .choices = choices};
  constraint.accepts_text = [choices = std::move(choices)](const std::string& text) {
    return std::find(choices.begin(), choices.end(), text) != choices.end();
  };
  return constraint;
}

Constraint one_of(std::vector<std::string> choices, std::vector<std::string> not_built) {
  Constraint constraint = one_of(std::move(choices));
  constraint.not_built = std::move(not_built);
  return constraint;
}

Constraint not_empty() {
  return {.text = "not empty",
          .accepts_text = [](const std::string& text) { return !text.empty(); }};
}

std::optional<std::string> broken_constraint(const Constraint& constraint, const Node& node) {
  if (node.is_list()) {
    for (const Node& item : node.items()) {
      if (auto broken = broken_constraint(constraint, item)) return broken;
    }
    return std::nullopt;
  }
  if (!node.is_scalar() || accepts(constraint, node)) return std::nullopt;
  const auto& not_built = constraint.not_built;
  if (std::find(not_built.begin(), not_built.end(), node.text()) != not_built.end()) {
    return fmt::format("must be {}, but got {}, which is not built yet", constraint.text,
                       node.describe());
  }
  return fmt::format("must be {}, but got {}{}", constraint.text, node.describe(),
                     did_you_mean(node.text(), constraint.choices));
}

bool refuse(const Node& node, const ReadContext& context, const std::string& message) {
  context.issues.add(node.location(), context.path, message);
  return false;
}

std::string child_path(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

bool read_value(const Node& node, bool& value, const ReadContext& context) {
  const auto parsed = node.is_scalar() && !node.quoted() ? parse_bool(node.text()) : std::nullopt;
  if (!parsed) return expect(node, context, "true or false");
  value = *parsed;
  return true;
}

bool read_value(const Node& node, int64_t& value, const ReadContext& context) {
  const auto parsed = node.is_scalar() ? parse_integer(node.text()) : std::nullopt;
  if (!parsed) return expect(node, context, "an integer");
  value = *parsed;
  return true;
}

bool read_value(const Node& node, double& value, const ReadContext& context) {
  const auto parsed = node.is_scalar() ? parse_number(node.text()) : std::nullopt;
  if (!parsed) return expect(node, context, "a number");
  value = *parsed;
  return true;
}

bool read_value(const Node& node, std::string& value, const ReadContext& context) {
  if (!node.is_scalar()) return expect(node, context, "text");
  // A number may be meant as text (a run name `2024`); a bare true or false never is.
  if (!node.quoted() && parse_bool(node.text())) {
    return refuse(
        node, context,
        fmt::format("must be text, but got {0}; write \"{0}\" if that text is meant", node.text()));
  }
  value = node.text();
  return true;
}

bool read_value(const Node& node, Node& value, const ReadContext& /*context*/) {
  value = node;
  return true;
}

Node write_value(bool value) {
  return Node::scalar(value ? "true" : "false");
}
Node write_value(int64_t value) {
  return Node::scalar(std::to_string(value));
}
Node write_value(double value) {
  return Node::scalar(format_number(value));
}
Node write_value(const Node& value) {
  return value;
}

Node write_value(const std::string& value) {
  const bool typed = is_null_text(value) || parse_bool(value) || parse_number(value);
  return Node::scalar(value, typed);
}

bool expect_list(const Node& node, const ReadContext& context) {
  return node.is_list() || expect(node, context, "a list");
}

bool expect_map(const Node& node, const ReadContext& context) {
  return node.is_map() || expect(node, context, "a map");
}

void AnySchema::add_base(const AnySchema& base, void* (*upcast)(void*)) {
  // Reading a struct through a const pointer changes nothing; only the pointer has to be moved.
  const auto upcast_const = [upcast](const void* object) -> const void* {
    return upcast(const_cast<void*>(object));
  };
  for (Field field : base.fields_) {
    field.read = [upcast, read = field.read](const Node& node, void* object,
                                             const ReadContext& context) {
      return read(node, upcast(object), context);
    };
    field.write = [upcast_const, write = field.write](const void* object) {
      return write(upcast_const(object));
    };
    fields_.push_back(std::move(field));
  }
  keys_without_effect_.insert(base.keys_without_effect_.begin(), base.keys_without_effect_.end());
  keys_not_built_.insert(base.keys_not_built_.begin(), base.keys_not_built_.end());
  for (const auto& check : base.checks_) {
    checks_.emplace_back(
        [upcast_const, check](const void* object, const Node& node, const ReadContext& context) {
          check(upcast_const(object), node, context);
        });
  }
}

const Field* AnySchema::find(const std::string& key) const {
  for (const Field& field : fields_) {
    if (field.name == key) return &field;
    if (std::find(field.aliases.begin(), field.aliases.end(), key) != field.aliases.end())
      return &field;
  }
  return nullptr;
}

bool AnySchema::read(const Node& node, void* object, const ReadContext& context,
                     const std::vector<std::string>& reserved) const {
  if (!node.is_null() && !expect_map(node, context)) return false;
  std::map<const Field*, std::string> given;
  bool ok = true;
  for (const auto& [key, value] : node.entries()) {
    if (std::find(reserved.begin(), reserved.end(), key) != reserved.end()) continue;
    const ReadContext child{context.issues, child_path(context.path, key)};
    const Field* field = find(key);
    if (field == nullptr) {
      ok = accept_without_field(key, value, child) && ok;
      continue;
    }
    const auto [first, is_new] = given.emplace(field, key);
    if (!is_new) {
      ok = refuse(value, child,
                  fmt::format("must be given once, but '{}' already says the same", first->second));
      continue;
    }
    ok = read_field(*field, value, object, child) && ok;
  }
  for (const Field& field : fields_) {
    if (!field.required || given.contains(&field)) continue;
    ok = refuse(node, {context.issues, child_path(context.path, field.name)},
                fmt::format("must be given, but is missing; {}", field.doc));
  }
  // A check across fields would only repeat what is known to be wrong.
  if (!ok) return false;
  for (const auto& check : checks_) check(object, node, context);
  // Every value was taken, whatever is wrong with them together: checks above this struct may look
  // at it, too, so that all faults are listed at once.
  return true;
}

bool AnySchema::accept_without_field(const std::string& key, const Node& value,
                                     const ReadContext& context) const {
  const auto without_effect = keys_without_effect_.find(key);
  if (without_effect != keys_without_effect_.end()) {
    context.issues.note(value.location(), context.path,
                        "has no effect here: " + without_effect->second);
    return true;
  }
  const auto not_built = keys_not_built_.find(key);
  if (not_built != keys_not_built_.end()) {
    if (value.is_null()) return true;
    return refuse(value, context,
                  "must not be given, because it is not built yet: " + not_built->second);
  }
  std::vector<std::string> known;
  for (const Field& field : fields_) known.push_back(field.name);
  for (const auto& [name, reason] : keys_without_effect_) known.push_back(name);
  std::string hint = did_you_mean(key, known);
  if (hint.empty() && !known.empty()) hint = fmt::format("; known are {}", fmt::join(known, ", "));
  return refuse(value, context, fmt::format("must be a known key, but got '{}'{}", key, hint));
}

bool AnySchema::read_field(const Field& field, const Node& value, void* object,
                           const ReadContext& context) {
  if (!field.read(value, object, context)) return false;
  const Node taken = field.write(object);
  // The message quotes what was written in the file, not how the value prints.
  const bool as_given = taken.is_scalar() && value.is_scalar();
  if (const auto broken = broken_constraint(field.constraint, as_given ? value : taken)) {
    return refuse(value, context, *broken);
  }
  return true;
}

Node AnySchema::write(const void* object) const {
  Node map = Node::map();
  for (const Field& field : fields_) map.set(field.name, field.write(object));
  return map;
}

}  // namespace zoetrope::config
