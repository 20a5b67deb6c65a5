// Typed fields of a config struct: one list beside the struct, walked to read YAML, to write the
// resolved config and to print the reference. Defaults live only in the struct's member
// initialisers.
//
//   struct EmaConfig {
//     double decay = 0.9999;
//     int64_t start_iter = 0;
//     static void describe(config::Schema<EmaConfig>& schema) {
//       schema.field("decay", &EmaConfig::decay, "Decay per optimizer step.",
//       config::between(0.0, 1.0)); schema.field("start_iter", &EmaConfig::start_iter, "First step
//       that is averaged.", config::at_least(0));
//     }
//   };
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "zoetrope/config/issues.h"
#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// What a value must satisfy, with its text for messages and for the reference, for example `at
/// least 0`. The check returns whether the value, read as a number or text, is accepted.
struct Constraint {
  std::string text;
  std::function<bool(double)> accepts_number = {};            ///< unset: any
  std::function<bool(const std::string&)> accepts_text = {};  ///< unset: any
  std::vector<std::string> not_built = {};                    ///< known, but refused
  std::vector<std::string> choices = {};                      ///< for the nearest known name
};

Constraint at_least(double minimum);
Constraint greater_than(double minimum);
Constraint between(double minimum, double maximum);  ///< both ends included
Constraint one_of(std::vector<std::string> choices);
/// `choices`, and names that are known but refused because they are not built yet.
Constraint one_of(std::vector<std::string> choices, std::vector<std::string> not_built);
Constraint not_empty();  ///< text with at least one character

/// What `node` breaks of `constraint`, as `must be at least 0, but got the number -1`, or nothing.
/// Lists are checked item by item; null breaks nothing (whether it may be null is the type's
/// affair).
std::optional<std::string> broken_constraint(const Constraint& constraint, const Node& node);

/// How one C++ type is read from a Node and written to one. Specialised for bool, int64_t, double,
/// std::string, Node (anything, kept as it is), std::optional<T>, std::vector<T>,
/// std::map<std::string, T>, and for every struct with `describe`. read() adds issues instead of
/// throwing and returns false when the value was not taken.
template <class T>
struct Type;

struct ReadContext {
  Issues& issues;
  std::string path;  ///< dotted path of the node that is being read
};

/// Adds the issue `context.path: message` at `node`; always false, so that readers can return it.
bool refuse(const Node& node, const ReadContext& context, const std::string& message);
/// `path.key`, or `key` at the document's root.
std::string child_path(const std::string& path, const std::string& key);

bool read_value(const Node& node, bool& value, const ReadContext& context);
bool read_value(const Node& node, int64_t& value, const ReadContext& context);
bool read_value(const Node& node, double& value, const ReadContext& context);
bool read_value(const Node& node, std::string& value, const ReadContext& context);
bool read_value(const Node& node, Node& value, const ReadContext& context);
Node write_value(bool value);
Node write_value(int64_t value);
Node write_value(double value);
Node write_value(const std::string& value);
Node write_value(const Node& value);

/// One field of a struct, with the struct's type erased.
struct Field {
  std::string name;
  std::string doc;
  std::string type;  ///< `number`, `integer`, `true or false`, `text`, `list of integer`, ...
  Constraint constraint;
  bool required = false;
  std::vector<std::string> aliases;  ///< other accepted spellings
  std::function<bool(const Node&, void*, const ReadContext&)>
      read;  ///< into the struct at the pointer
  std::function<Node(const void*)> write;
  const class AnySchema* (*nested)() = nullptr;  ///< gives the schema of a struct-typed field
};

/// The field list of one struct, type-erased: what validators, writers and the reference generator
/// walk.
class AnySchema {
 public:
  const std::vector<Field>& fields() const { return fields_; }
  /// Keys that FastVideo has and that change nothing here, with the reason; accepted and noted
  /// once.
  const std::map<std::string, std::string>& keys_without_effect() const {
    return keys_without_effect_;
  }

  /// Keys that FastVideo has and that would change a run, but are not built here, with the reason;
  /// a fault unless the value is null.
  const std::map<std::string, std::string>& keys_not_built() const { return keys_not_built_; }

  /// Reads a map into `object`: every known key through its field, an issue for each unknown key
  /// (with the nearest known one), for each missing required key, and for each broken constraint;
  /// then the struct's own checks. `reserved` keys (such as `_target_`) are skipped. Null counts as
  /// an empty map: a section whose lines are all commented out.
  bool read(const Node& node, void* object, const ReadContext& context,
            const std::vector<std::string>& reserved = {}) const;
  /// Every field with its current value, in the order of the list.
  Node write(const void* object) const;
  /// A default-constructed object, owned by the caller.
  std::shared_ptr<void> make_default() const { return make_default_(); }

  /// The field that `key` names (by its name or an alias), or nullptr.
  const Field* find(const std::string& key) const;

 protected:
  std::vector<Field> fields_;
  std::map<std::string, std::string> keys_without_effect_;
  std::map<std::string, std::string> keys_not_built_;
  std::function<std::shared_ptr<void>()> make_default_;
  std::vector<std::function<void(const void*, const Node&, ReadContext)>> checks_;

  /// Takes over what `base` has; `upcast` gives the base struct of an object.
  void add_base(const AnySchema& base, void* (*upcast)(void*));

 private:
  bool accept_without_field(const std::string& key, const Node& value,
                            const ReadContext& context) const;
  static bool read_field(const Field& field, const Node& value, void* object,
                         const ReadContext& context);
};

template <class Struct>
class Schema;

/// The schema of `Struct`, built once.
template <class Struct>
const Schema<Struct>& schema_of();

template <class Struct>
class Schema : public AnySchema {
 public:
  Schema() {
    make_default_ = [] { return std::static_pointer_cast<void>(std::make_shared<Struct>()); };
  }

  template <class T>
  Field& field(std::string name, T Struct::*member, std::string doc, Constraint constraint = {}) {
    Field field;
    field.name = std::move(name);
    field.doc = std::move(doc);
    field.type = Type<T>::name();
    field.constraint = std::move(constraint);
    field.read = [member](const Node& node, void* object, const ReadContext& context) {
      return Type<T>::read(node, static_cast<Struct*>(object)->*member, context);
    };
    field.write = [member](const void* object) {
      return Type<T>::write(static_cast<const Struct*>(object)->*member);
    };
    field.nested = Type<T>::schema;
    fields_.push_back(std::move(field));
    return fields_.back();
  }
  /// A field that must be given.
  template <class T>
  Field& required(std::string name, T Struct::*member, std::string doc,
                  Constraint constraint = {}) {
    Field& added = field(std::move(name), member, std::move(doc), std::move(constraint));
    added.required = true;
    return added;
  }
  /// All fields, keys and checks of a struct that `Struct` derives from.
  template <class Base>
  requires std::derived_from<Struct, Base>
  void inherit() {
    add_base(schema_of<Base>(), [](void* object) -> void* {
      return static_cast<Base*>(static_cast<Struct*>(object));
    });
  }
  /// A key that FastVideo accepts and that has no effect here.
  void without_effect(const std::string& key, const std::string& reason) {
    keys_without_effect_[key] = reason;
  }
  /// A key that FastVideo accepts and that cannot be honoured here yet.
  void not_built(const std::string& key, const std::string& reason) {
    keys_not_built_[key] = reason;
  }
  /// A check across fields; adds issues at the node or at one of its children.
  void check(std::function<void(const Struct&, const Node&, ReadContext)> check) {
    checks_.push_back([check](const void* object, const Node& node, const ReadContext& context) {
      check(*static_cast<const Struct*>(object), node, context);
    });
  }
};

template <class Struct>
const Schema<Struct>& schema_of() {
  static const Schema<Struct> schema = [] {
    Schema<Struct> built;
    Struct::describe(built);
    return built;
  }();
  return schema;
}

template <class T>
concept Scalar = std::same_as<T, bool> || std::same_as<T, int64_t> || std::same_as<T, double> ||
    std::same_as<T, std::string> || std::same_as<T, Node>;

template <Scalar T>
struct Type<T> {
  static std::string name() {
    if constexpr (std::same_as<T, bool>) return "true or false";
    if constexpr (std::same_as<T, int64_t>) return "integer";
    if constexpr (std::same_as<T, double>) return "number";
    if constexpr (std::same_as<T, std::string>) return "text";
    return "anything";
  }
  static bool read(const Node& node, T& value, const ReadContext& context) {
    return read_value(node, value, context);
  }
  static Node write(const T& value) { return write_value(value); }
  static const AnySchema* schema() { return nullptr; }
};

template <class T>
struct Type<std::optional<T>> {
  static std::string name() { return Type<T>::name() + " or null"; }
  static bool read(const Node& node, std::optional<T>& value, const ReadContext& context) {
    value.reset();
    if (node.is_null()) return true;
    T inner{};
    if (!Type<T>::read(node, inner, context)) return false;
    value = std::move(inner);
    return true;
  }
  static Node write(const std::optional<T>& value) {
    return value ? Type<T>::write(*value) : Node::null();
  }
  static const AnySchema* schema() { return Type<T>::schema(); }
};

bool expect_list(const Node& node, const ReadContext& context);
bool expect_map(const Node& node, const ReadContext& context);

template <class T>
struct Type<std::vector<T>> {
  static std::string name() { return "list of " + Type<T>::name(); }
  static bool read(const Node& node, std::vector<T>& value, const ReadContext& context) {
    if (!expect_list(node, context)) return false;
    value.clear();
    bool ok = true;
    for (size_t i = 0; i < node.items().size(); ++i) {
      T item{};
      ok = Type<T>::read(node.items()[i], item,
                         {context.issues, context.path + "[" + std::to_string(i) + "]"}) &&
           ok;
      value.push_back(std::move(item));
    }
    return ok;
  }
  static Node write(const std::vector<T>& value) {
    Node list = Node::list();
    for (const T& item : value) list.push_back(Type<T>::write(item));
    return list;
  }
  static const AnySchema* schema() { return nullptr; }
};

template <class T>
struct Type<std::map<std::string, T>> {
  static std::string name() { return "map of text to " + Type<T>::name(); }
  static bool read(const Node& node, std::map<std::string, T>& value, const ReadContext& context) {
    if (!expect_map(node, context)) return false;
    value.clear();
    bool ok = true;
    for (const auto& [key, child] : node.entries()) {
      ok = Type<T>::read(child, value[key], {context.issues, child_path(context.path, key)}) && ok;
    }
    return ok;
  }
  static Node write(const std::map<std::string, T>& value) {
    Node map = Node::map();
    for (const auto& [key, item] : value) map.set(key, Type<T>::write(item));
    return map;
  }
  static const AnySchema* schema() { return nullptr; }
};

template <class T>
concept Described = requires(Schema<T>& schema) {
  T::describe(schema);
};

template <Described T>
struct Type<T> {
  static std::string name() { return "map"; }
  static bool read(const Node& node, T& value, const ReadContext& context) {
    return schema_of<T>().read(node, &value, context);
  }
  static Node write(const T& value) { return schema_of<T>().write(&value); }
  static const AnySchema* schema() { return &schema_of<T>(); }
};

}  // namespace zoetrope::config
