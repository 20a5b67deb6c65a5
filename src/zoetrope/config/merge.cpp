#include "zoetrope/config/merge.h"

namespace zoetrope::config {
namespace {

bool names_another_target(const Node& base, const Node& overlay) {
  const Node* before = base.find("_target_");
  const Node* now = overlay.find("_target_");
  return now != nullptr && (before == nullptr || before->text() != now->text());
}

}  // namespace

Node merge(const Node& base, const Node& overlay) {
  if (!overlay.is_map()) return overlay;
  const bool merges = base.is_map() && !names_another_target(base, overlay);
  Node merged = Node::map(overlay.location());
  if (merges) {
    for (const auto& [key, value] : base.entries()) merged.set(key, value);
  }
  for (const auto& [key, value] : overlay.entries()) {
    const Node* below = merged.find(key);
    if (value.is_null()) {
      merged.erase(key);
    } else {
      merged.set(key, merge(below != nullptr ? *below : Node::null(), value));
    }
  }
  return merged;
}

}  // namespace zoetrope::config
