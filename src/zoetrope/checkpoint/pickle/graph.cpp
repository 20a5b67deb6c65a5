#include "zoetrope/checkpoint/pickle/graph.h"

#include <algorithm>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using Graph = PickleGraph;

// What is known of a node on the walk from the root.
struct Visit {
  enum class State { kNew, kOpen, kDone };
  State state = State::kNew;
  int64_t depth = 0;       // of the tree below
  int64_t num_values = 0;  // of the tree below, shared ones counted at each use
  PickleValue value;
};

Graph::Id num_successors(const Graph::Node& node) {
  const size_t own = node.kind == Graph::Kind::kObject ? 2 : 0;
  return static_cast<Graph::Id>(node.children.size() + own);
}

Graph::Id successor(const Graph::Node& node, Graph::Id index) {
  if (index < node.children.size()) return node.children[index];
  return index == node.children.size() ? node.arguments : node.state;
}

std::vector<PickleValue> elements_of(const Graph::Node& node, const std::vector<Visit>& visits) {
  std::vector<PickleValue> elements;
  elements.reserve(node.children.size());
  for (const Graph::Id child : node.children) elements.push_back(visits[child].value);
  return elements;
}

std::vector<std::pair<PickleValue, PickleValue>> entries_of(const Graph::Node& node,
                                                            const std::vector<Visit>& visits) {
  std::vector<std::pair<PickleValue, PickleValue>> entries;
  entries.reserve(node.children.size() / 2);
  for (size_t i = 0; i + 1 < node.children.size(); i += 2)
    entries.emplace_back(visits[node.children[i]].value, visits[node.children[i + 1]].value);
  return entries;
}

PickleValue object_of(const Graph::Node& node, const std::vector<Visit>& visits) {
  PickleObject object;
  object.type = std::get<std::string>(node.scalar);
  object.called = node.called;
  object.argument_tuple = visits[node.arguments].value;
  object.state = visits[node.state].value;
  object.entries = entries_of(node, visits);
  return PickleValue(PickleNode{std::move(object)});
}

PickleValue scalar_of(const Graph::Node& node) {
  return std::visit([](const auto& value) { return PickleValue(PickleNode{value}); }, node.scalar);
}

PickleValue value_of(const Graph::Node& node, const std::vector<Visit>& visits) {
  switch (node.kind) {
    case Graph::Kind::kScalar:
      return scalar_of(node);
    case Graph::Kind::kBytes:
      return PickleValue::bytes(std::get<std::string>(node.scalar));
    case Graph::Kind::kList:
      return PickleValue::list(elements_of(node, visits));
    case Graph::Kind::kTuple:
      return PickleValue::tuple(elements_of(node, visits));
    case Graph::Kind::kSet:
      return PickleValue(PickleNode{PickleSet{elements_of(node, visits)}});
    case Graph::Kind::kDict:
      return PickleValue::dict(entries_of(node, visits));
    case Graph::Kind::kGlobal:
      return PickleValue::global(std::get<std::string>(node.scalar));
    case Graph::Kind::kObject:
      return object_of(node, visits);
    case Graph::Kind::kPersistentId:
      return PickleValue(PickleNode{PicklePersistentId{visits[node.children.front()].value}});
  }
  return {};
}

void close(const Graph::Node& node, std::vector<Visit>& visits, Graph::Id id,
           const PickleLimits& limits) {
  Visit& visit = visits[id];
  visit.depth = 1;
  visit.num_values = 1;
  for (Graph::Id i = 0; i < num_successors(node); ++i) {
    const Visit& below = visits[successor(node, i)];
    visit.depth = std::max(visit.depth, below.depth + 1);
    visit.num_values += below.num_values;
    if (visit.num_values > limits.num_values)
      fail<CheckpointError>("a pickle must hold at most {} values, but its shared ones make more",
                            limits.num_values);
  }
  if (visit.depth > limits.depth)
    fail<CheckpointError>("a pickle's values must nest at most {} deep, but nest deeper",
                          limits.depth);
  visit.value = value_of(node, visits);
  visit.state = Visit::State::kDone;
}

}  // namespace

Graph::Id PickleGraph::add(Node node) {
  // References and text count too: a few bytes can ask for a copy of a long list or string.
  constexpr size_t kCharactersOfOne = 64;
  const auto* text = std::get_if<std::string>(&node.scalar);
  num_charged_ += 1 + static_cast<int64_t>(node.children.size() +
                                           (text == nullptr ? 0 : text->size() / kCharactersOfOne));
  if (num_charged_ > limits_.num_values)
    fail<CheckpointError>("a pickle must hold at most {} values, but holds more",
                          limits_.num_values);
  nodes_.push_back(std::move(node));
  return static_cast<Id>(nodes_.size() - 1);
}

PickleValue PickleGraph::build(Id root) const {
  struct Step {
    Id id;
    Id next;
  };
  std::vector<Visit> visits(nodes_.size());
  std::vector<Step> path = {{root, 0}};
  visits[root].state = Visit::State::kOpen;
  while (!path.empty()) {
    const Id id = path.back().id;
    const Node& node = nodes_[id];
    if (path.back().next == num_successors(node)) {
      close(node, visits, id, limits_);
      path.pop_back();
      continue;
    }
    const Id below = successor(node, path.back().next++);
    if (visits[below].state == Visit::State::kOpen)
      fail<CheckpointError>("a pickle's values must not contain themselves, but one does");
    if (visits[below].state == Visit::State::kNew) {
      visits[below].state = Visit::State::kOpen;
      path.push_back({below, 0});
    }
  }
  return visits[root].value;
}

}  // namespace zoetrope
