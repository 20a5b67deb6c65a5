// What a Python pickle says, as plain data: a tree of values in which classes and functions are
// only names. Nothing here can run anything. Knows no torch and no file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace zoetrope {

struct PickleNode;

/// One immutable value; a copy shares the node. The default value is None.
class PickleValue {
 public:
  PickleValue() = default;
  explicit PickleValue(PickleNode node);

  static PickleValue boolean(bool value);
  static PickleValue integer(int64_t value);
  static PickleValue real(double value);
  static PickleValue string(std::string value);
  static PickleValue bytes(std::string value);
  static PickleValue list(std::vector<PickleValue> elements);
  static PickleValue tuple(std::vector<PickleValue> elements);
  /// A tuple of ints, such as a shape.
  static PickleValue int_tuple(const std::vector<int64_t>& values);
  static PickleValue dict(std::vector<std::pair<PickleValue, PickleValue>> entries);
  /// A class or function: `torch.float32`.
  static PickleValue global(std::string name);
  /// What calling `name(*arguments)` gives in Python.
  static PickleValue call(std::string name, std::vector<PickleValue> arguments);
  /// An object made without a call, with `state` (its fields) set on it.
  static PickleValue instance(std::string name, PickleValue state);

  /// Never null.
  const PickleNode& node() const;
  bool is_none() const;
  /// `an int`, `a dict`, `an object of torch.Size`: for messages.
  std::string describe() const;

  // Each throws CheckpointError, saying what the value is, when it is something else.
  bool as_boolean() const;
  int64_t as_integer() const;
  /// A float, or an int as one.
  double as_real() const;
  const std::string& as_string() const;
  const std::string& as_bytes() const;
  /// Of a list, tuple or set.
  const std::vector<PickleValue>& as_elements() const;
  /// Of a dict, or of an object that is one (OrderedDict).
  const std::vector<std::pair<PickleValue, PickleValue>>& as_entries() const;
  const std::string& as_global() const;
  const struct PickleObject& as_object() const;
  /// The object, which must be one of `type`.
  const struct PickleObject& as_object_of(std::string_view type) const;
  /// The value under the string `key` of as_entries() (the last, as in Python), or null.
  const PickleValue* find(std::string_view key) const;
  /// As find(), but throws when there is none.
  const PickleValue& at(std::string_view key) const;

  /// Same data, whether or not nodes are shared.
  friend bool operator==(const PickleValue& left, const PickleValue& right);

 private:
  std::shared_ptr<const PickleNode> node_;
};

struct PickleBytes {
  std::string bytes;
  bool operator==(const PickleBytes&) const = default;
};
struct PickleList {
  std::vector<PickleValue> elements;
  bool operator==(const PickleList&) const = default;
};
struct PickleTuple {
  std::vector<PickleValue> elements;
  bool operator==(const PickleTuple&) const = default;
};
struct PickleSet {
  std::vector<PickleValue> elements;
  bool operator==(const PickleSet&) const = default;
};
struct PickleDict {
  std::vector<std::pair<PickleValue, PickleValue>> entries;  ///< in the order of the file
  bool operator==(const PickleDict&) const = default;
};
/// A class or function by name, module and name joined by a dot.
struct PickleGlobal {
  std::string name;
  bool operator==(const PickleGlobal&) const = default;
};
struct PickleObject {
  std::string type;    ///< the class or function that made it
  bool called = true;  ///< by type(*arguments); else by type.__new__(type, *arguments)
  PickleValue argument_tuple;
  PickleValue state;  ///< what was set on it afterwards, or None
  std::vector<std::pair<PickleValue, PickleValue>> entries;  ///< of a class that is a dict
  const std::vector<PickleValue>& arguments() const { return argument_tuple.as_elements(); }
  bool operator==(const PickleObject&) const = default;
};
/// A thing that is stored beside the pickle, such as a tensor's memory.
struct PicklePersistentId {
  PickleValue id;
  bool operator==(const PicklePersistentId&) const = default;
};

struct PickleNode {
  std::variant<std::monostate, bool, int64_t, double, std::string, PickleBytes, PickleList,
               PickleTuple, PickleSet, PickleDict, PickleGlobal, PickleObject, PicklePersistentId>
      data;
  bool operator==(const PickleNode&) const = default;
};

}  // namespace zoetrope
