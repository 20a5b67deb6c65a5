#include "zoetrope/checkpoint/pickle/value.h"

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

const PickleNode& none_node() {
  static const PickleNode none;
  return none;
}

template <class Alternative>
const Alternative& get(const PickleValue& value, const char* wanted) {
  const auto* found = std::get_if<Alternative>(&value.node().data);
  if (found == nullptr)
    fail<CheckpointError>("the pickled value must be {}, but is {}", wanted, value.describe());
  return *found;
}

struct Describe {
  std::string operator()(std::monostate) const { return "None"; }
  std::string operator()(bool value) const { return value ? "True" : "False"; }
  std::string operator()(int64_t value) const { return fmt::format("the int {}", value); }
  std::string operator()(double value) const { return fmt::format("the float {}", value); }
  std::string operator()(const std::string& value) const {
    constexpr size_t kShown = 60;
    return fmt::format("the string '{}'{}", value.substr(0, kShown),
                       value.size() > kShown ? "..." : "");
  }
  std::string operator()(const PickleBytes&) const { return "bytes"; }
  std::string operator()(const PickleList&) const { return "a list"; }
  std::string operator()(const PickleTuple&) const { return "a tuple"; }
  std::string operator()(const PickleSet&) const { return "a set"; }
  std::string operator()(const PickleDict&) const { return "a dict"; }
  std::string operator()(const PickleGlobal& value) const { return "the name " + value.name; }
  std::string operator()(const PickleObject& value) const { return "an object of " + value.type; }
  std::string operator()(const PicklePersistentId&) const { return "a persistent id"; }
};

}  // namespace

PickleValue::PickleValue(PickleNode node)
    : node_(std::make_shared<const PickleNode>(std::move(node))) {}

PickleValue PickleValue::boolean(bool value) {
  return PickleValue(PickleNode{value});
}
PickleValue PickleValue::integer(int64_t value) {
  return PickleValue(PickleNode{value});
}
PickleValue PickleValue::real(double value) {
  return PickleValue(PickleNode{value});
}
PickleValue PickleValue::string(std::string value) {
  return PickleValue(PickleNode{std::move(value)});
}
PickleValue PickleValue::bytes(std::string value) {
  return PickleValue(PickleNode{PickleBytes{std::move(value)}});
}
PickleValue PickleValue::list(std::vector<PickleValue> elements) {
  return PickleValue(PickleNode{PickleList{std::move(elements)}});
}
PickleValue PickleValue::tuple(std::vector<PickleValue> elements) {
  return PickleValue(PickleNode{PickleTuple{std::move(elements)}});
}
PickleValue PickleValue::int_tuple(const std::vector<int64_t>& values) {
  std::vector<PickleValue> elements;
  elements.reserve(values.size());
  for (const int64_t value : values) elements.push_back(integer(value));
  return tuple(std::move(elements));
}
PickleValue PickleValue::dict(std::vector<std::pair<PickleValue, PickleValue>> entries) {
  return PickleValue(PickleNode{PickleDict{std::move(entries)}});
}
PickleValue PickleValue::global(std::string name) {
  return PickleValue(PickleNode{PickleGlobal{std::move(name)}});
}
PickleValue PickleValue::call(std::string name, std::vector<PickleValue> arguments) {
  PickleObject object;
  object.type = std::move(name);
  object.argument_tuple = tuple(std::move(arguments));
  return PickleValue(PickleNode{std::move(object)});
}
PickleValue PickleValue::instance(std::string name, PickleValue state) {
  PickleObject object;
  object.type = std::move(name);
  object.called = false;
  object.argument_tuple = tuple({});
  object.state = std::move(state);
  return PickleValue(PickleNode{std::move(object)});
}

const PickleNode& PickleValue::node() const {
  return node_ ? *node_ : none_node();
}

bool PickleValue::is_none() const {
  return std::holds_alternative<std::monostate>(node().data);
}

std::string PickleValue::describe() const {
  return std::visit(Describe(), node().data);
}

bool PickleValue::as_boolean() const {
  return get<bool>(*this, "a bool");
}
int64_t PickleValue::as_integer() const {
  return get<int64_t>(*this, "an int");
}
double PickleValue::as_real() const {
  if (const auto* integer = std::get_if<int64_t>(&node().data))
    return static_cast<double>(*integer);
  return get<double>(*this, "a float");
}
const std::string& PickleValue::as_string() const {
  return get<std::string>(*this, "a string");
}
const std::string& PickleValue::as_bytes() const {
  return get<PickleBytes>(*this, "bytes").bytes;
}

const std::vector<PickleValue>& PickleValue::as_elements() const {
  if (const auto* list = std::get_if<PickleList>(&node().data)) return list->elements;
  if (const auto* set = std::get_if<PickleSet>(&node().data)) return set->elements;
  return get<PickleTuple>(*this, "a list, tuple or set").elements;
}

const std::vector<std::pair<PickleValue, PickleValue>>& PickleValue::as_entries() const {
  if (const auto* object = std::get_if<PickleObject>(&node().data);
      object != nullptr && object->type == "collections.OrderedDict") {
    return object->entries;
  }
  return get<PickleDict>(*this, "a dict").entries;
}

const std::string& PickleValue::as_global() const {
  return get<PickleGlobal>(*this, "a class or function").name;
}
const PickleObject& PickleValue::as_object() const {
  return get<PickleObject>(*this, "an object");
}

const PickleObject& PickleValue::as_object_of(std::string_view type) const {
  const auto* object = std::get_if<PickleObject>(&node().data);
  if (object == nullptr || object->type != type)
    fail<CheckpointError>("the pickled value must be an object of {}, but is {}", type, describe());
  return *object;
}

const PickleValue* PickleValue::find(std::string_view key) const {
  const auto& entries = as_entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto* name = std::get_if<std::string>(&entry->first.node().data);
    if (name != nullptr && *name == key) return &entry->second;
  }
  return nullptr;
}

const PickleValue& PickleValue::at(std::string_view key) const {
  const PickleValue* found = find(key);
  if (found == nullptr)
    fail<CheckpointError>("the pickled dict must have the key '{}', but has not", key);
  return *found;
}

bool operator==(const PickleValue& left, const PickleValue& right) {
  return left.node_ == right.node_ || left.node() == right.node();
}

}  // namespace zoetrope
