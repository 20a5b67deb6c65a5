#include "zoetrope/checkpoint/pickle/machine.h"

#include <algorithm>
#include <bit>

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/latin1.h"

namespace zoetrope {

void PickleMachine::check_length(uint64_t num_bytes) const {
  if (num_bytes > bytes_.size() - offset_)
    fail<CheckpointError>("needs {} more bytes, but the pickle has {}; it is truncated or damaged",
                          num_bytes, bytes_.size() - offset_);
}

void PickleMachine::check_protocol(uint8_t protocol) const {
  constexpr uint8_t kFirst = 2;
  constexpr uint8_t kLast = 5;
  if (protocol < kFirst || protocol > kLast)
    fail<CheckpointError>("the protocol must be {} to {}, but is {}", kFirst, kLast, protocol);
}

std::string_view PickleMachine::take_bytes(uint64_t num_bytes) {
  check_length(num_bytes);
  const std::string_view taken = bytes_.substr(offset_, num_bytes);
  offset_ += num_bytes;
  return taken;
}

void PickleMachine::push_text(Kind kind, uint64_t num_bytes) {
  PickleGraph::Node node;
  node.kind = kind;
  node.scalar = std::string(take_bytes(num_bytes));
  push(graph_.add(std::move(node)));
}

void PickleMachine::push_long(size_t num_bytes) {
  if (num_bytes > sizeof(int64_t))
    fail<CheckpointError>("an int must fit into 64 bits, but has {} bytes", num_bytes);
  const std::string_view digits = take_bytes(num_bytes);
  const bool negative = !digits.empty() && (static_cast<uint8_t>(digits.back()) & 0x80U) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit)
    value = (value << 8U) | static_cast<uint8_t>(*digit);
  push_scalar(static_cast<int64_t>(value));
}

void PickleMachine::push_big_endian_float() {
  uint64_t bits = 0;
  for (const char digit : take_bytes(sizeof(double)))
    bits = (bits << 8U) | static_cast<uint8_t>(digit);
  push_scalar(std::bit_cast<double>(bits));
}

size_t PickleMachine::num_marked() {
  if (marks_.empty() || marks_.back() > stack_.size())
    fail<CheckpointError>("the opcode needs a mark on the stack, but there is none");
  const size_t count = stack_.size() - marks_.back();
  marks_.pop_back();
  return count;
}

void PickleMachine::push_container(Kind kind, size_t count) {
  PickleGraph::Node node;
  node.kind = kind;
  node.children = pop_many(count);
  push(graph_.add(std::move(node)));
}

void PickleMachine::append(Kind kind, size_t count) {
  if (kind == Kind::kDict && count % 2 != 0)
    fail<CheckpointError>("a dict needs keys and values in pairs, but gets {} values", count);
  const std::vector<Id> added = pop_many(count);
  PickleGraph::Node& container = graph_.at(top());
  const bool dict_object = kind == Kind::kDict && container.kind == Kind::kObject;
  if (container.kind != kind && !dict_object)
    fail<CheckpointError>(
        "the opcode needs a list, set or dict to add to, but finds another value");
  container.children.insert(container.children.end(), added.begin(), added.end());
}

void PickleMachine::push_global(std::string name) {
  if (!allowed_globals_.contains(name)) {
    fail<CheckpointError>(
        "mentions '{}', which is not on the list of names that such a file may use; nothing was "
        "executed",
        name);
  }
  PickleGraph::Node node;
  node.kind = Kind::kGlobal;
  node.scalar = std::move(name);
  push(graph_.add(std::move(node)));
}

void PickleMachine::push_global_lines() {
  const std::string module = take_line();
  push_global(module + "." + take_line());
}

void PickleMachine::push_global_of_stack() {
  const Id name = pop();
  const Id module = pop();
  if (text_of(name) == nullptr || text_of(module) == nullptr)
    fail<CheckpointError>("a class or function must be named by two strings, but is not");
  push_global(*text_of(module) + "." + *text_of(name));
}

void PickleMachine::make_object(bool called) {
  const Id arguments = pop();
  const Id type = pop();
  if (graph_.at(type).kind != Kind::kGlobal || graph_.at(arguments).kind != Kind::kTuple)
    fail<CheckpointError>("an object must be made of a name and a tuple, but is not");
  const std::string name = std::get<std::string>(graph_.at(type).scalar);
  if (called && push_builtin(name, graph_.at(arguments))) return;
  PickleGraph::Node node;
  node.kind = Kind::kObject;
  node.scalar = name;
  node.arguments = arguments;
  node.called = called;
  push(graph_.add(std::move(node)));
}

bool PickleMachine::push_builtin(const std::string& type, const PickleGraph::Node& arguments) {
  const std::vector<Id>& given = arguments.children;
  // The module of Python 2, which protocol 2 keeps, or that of Python 3.
  const bool builtin = type.starts_with("__builtin__.") || type.starts_with("builtins.");
  const std::string name = builtin ? type.substr(type.find('.') + 1) : "";
  PickleGraph::Node node;
  if (type == "_codecs.encode" && given.size() == 2 && text_of(given[0]) != nullptr) {
    node.kind = Kind::kBytes;
    node.scalar = latin1_of_utf8(*text_of(given[0]));
  } else if (name == "bytes" && given.empty()) {
    node.kind = Kind::kBytes;
    node.scalar = std::string();
  } else if (name == "set" && given.size() == 1 && graph_.at(given[0]).kind == Kind::kList) {
    node.kind = Kind::kSet;
    node.children = graph_.at(given[0]).children;
  } else {
    return false;
  }
  push(graph_.add(std::move(node)));
  return true;
}

void PickleMachine::set_state() {
  const Id state = pop();
  PickleGraph::Node& object = graph_.at(top());
  if (object.kind != Kind::kObject)
    fail<CheckpointError>("a state must be set on an object, but is set on another value");
  object.state = state;
}

void PickleMachine::load(uint32_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end())
    fail<CheckpointError>("refers to the value {}, which was not stored before", key);
  push(found->second);
}

PickleValue PickleMachine::finish() {
  const Id root = pop();
  if (!stack_.empty() || !marks_.empty())
    fail<CheckpointError>("must end with one value, but leaves {} more", stack_.size());
  if (offset_ != bytes_.size())
    fail<CheckpointError>("must end with its value, but {} bytes follow", bytes_.size() - offset_);
  return graph_.build(root);
}

PickleMachine::Id PickleMachine::top() const {
  if (stack_.empty() || (!marks_.empty() && marks_.back() >= stack_.size()))
    fail<CheckpointError>("the opcode needs a value on the stack, but there is none");
  return stack_.back();
}

PickleMachine::Id PickleMachine::pop() {
  const Id id = top();
  stack_.pop_back();
  return id;
}

std::vector<PickleMachine::Id> PickleMachine::pop_many(size_t count) {
  const size_t lowest = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() < lowest || count > stack_.size() - lowest)
    fail<CheckpointError>("the opcode needs {} values on the stack, but there are fewer", count);
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<Id> popped(first, stack_.end());
  stack_.erase(first, stack_.end());
  return popped;
}

std::string PickleMachine::take_line() {
  constexpr size_t kLongest = 1000;
  const size_t end =
      bytes_.substr(0, std::min(bytes_.size(), offset_ + kLongest)).find('\n', offset_);
  if (end == std::string_view::npos)
    fail<CheckpointError>("needs a line of text, but none ends here; it is truncated or damaged");
  std::string line(take_bytes(end - offset_));
  take_bytes(1);
  return line;
}

const std::string* PickleMachine::text_of(Id id) const {
  const PickleGraph::Node& node = graph_.at(id);
  return node.kind == Kind::kScalar ? std::get_if<std::string>(&node.scalar) : nullptr;
}

}  // namespace zoetrope
