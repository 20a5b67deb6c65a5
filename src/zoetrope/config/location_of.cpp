#include "zoetrope/config/location_of.h"

#include <algorithm>

namespace zoetrope::config {

Location location_of(const Node& node, const std::string& path) {
  const Node* found = &node;
  for (size_t begin = 0; begin <= path.size() && found->is_map();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const Node* child = found->find(path.substr(begin, end - begin));
    if (child == nullptr) break;
    found = child;
    begin = end + 1;
  }
  return found->location();
}

}  // namespace zoetrope::config
