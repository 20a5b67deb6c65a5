// The stack machine that a pickle is a program for, reduced to building data: stack, marks, memo
// and the values. Internal to the reader, which maps opcodes to these operations.
#pragma once

#include <cstring>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "zoetrope/checkpoint/pickle/graph.h"
#include "zoetrope/checkpoint/pickle/reader.h"

namespace zoetrope {

/// Every operation throws CheckpointError, without saying where, when the bytes ask for something
/// that they may not.
class PickleMachine {
 public:
  using Id = PickleGraph::Id;
  using Kind = PickleGraph::Kind;

  PickleMachine(std::string_view bytes, const PickleGlobals& allowed_globals, PickleLimits limits)
      : bytes_(bytes), allowed_globals_(allowed_globals), graph_(limits) {}

  size_t offset() const { return offset_; }
  void check_length(uint64_t num_bytes) const;
  void check_protocol(uint8_t protocol) const;
  std::string_view take_bytes(uint64_t num_bytes);
  /// The next little-endian number.
  template <class Number>
  Number take() {
    Number number;
    std::memcpy(&number, take_bytes(sizeof(Number)).data(), sizeof(Number));
    return number;
  }

  void push(Id id) { stack_.push_back(id); }
  template <class Scalar>
  void push_scalar(Scalar value) {
    PickleGraph::Node node;
    node.scalar = value;
    push(graph_.add(std::move(node)));
  }
  /// A string or bytes of the next `num_bytes`.
  void push_text(Kind kind, uint64_t num_bytes);
  /// Two's complement of `num_bytes`.
  void push_long(size_t num_bytes);
  void push_big_endian_float();

  void mark() { marks_.push_back(stack_.size()); }
  /// Values above the last mark, which is removed.
  size_t num_marked();
  /// Pops `count` values into a new container.
  void push_container(Kind kind, size_t count);
  /// Pops `count` values into the container of that kind that is then on top.
  void append(Kind kind, size_t count);

  void push_global_lines();
  void push_global_of_stack();
  void make_object(bool called);
  void set_state();

  void store(uint32_t key) { memo_[key] = top(); }
  void store_next() { store(static_cast<uint32_t>(memo_.size())); }
  void load(uint32_t key);

  /// The one value that is left. All bytes must have been read.
  PickleValue finish();

 private:
  Id top() const;
  Id pop();
  /// The top `count` values, which are removed.
  std::vector<Id> pop_many(size_t count);
  void push_global(std::string name);
  std::string take_line();
  /// Whether `type(*arguments)` is Python's way to write bytes or a set under protocol 2.
  bool push_builtin(const std::string& type, const PickleGraph::Node& arguments);
  const std::string* text_of(Id id) const;

  std::string_view bytes_;
  size_t offset_ = 0;
  const PickleGlobals& allowed_globals_;
  PickleGraph graph_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Id> memo_;
};

}  // namespace zoetrope
