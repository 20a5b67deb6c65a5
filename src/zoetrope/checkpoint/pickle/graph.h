// The values of a pickle while it is being read: nodes that refer to each other by number, so that
// hostile references (cycles, values nested or shared without end) can be found before a tree is
// made. Knows no opcodes.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "zoetrope/checkpoint/pickle/value.h"

namespace zoetrope {

/// What a pickle may ask for at most.
struct PickleLimits {
  int64_t depth = 100;
  int64_t num_values = 50'000'000;  ///< also when every shared value is counted at each use
};

class PickleGraph {
 public:
  using Id = uint32_t;
  static constexpr Id kNone = 0;  ///< the id of None

  enum class Kind { kScalar, kBytes, kList, kTuple, kSet, kDict, kGlobal, kObject, kPersistentId };

  struct Node {
    Kind kind = Kind::kScalar;
    std::variant<std::monostate, bool, int64_t, double, std::string> scalar;  ///< or text
    std::vector<Id> children;  ///< elements; keys and values in turn; the persistent id
    // Of objects only; the type's name is `scalar`.
    Id arguments = kNone;
    Id state = kNone;
    bool called = true;
  };

  explicit PickleGraph(PickleLimits limits) : limits_(limits), nodes_(1) {}

  /// Throws CheckpointError at the limit.
  Id add(Node node);
  Node& at(Id id) { return nodes_[id]; }
  const Node& at(Id id) const { return nodes_[id]; }

  /// The tree below `root`. Throws CheckpointError when a value contains itself, or beyond a limit.
  PickleValue build(Id root) const;

 private:
  PickleLimits limits_;
  int64_t num_charged_ = 0;
  std::vector<Node> nodes_;
};

}  // namespace zoetrope
