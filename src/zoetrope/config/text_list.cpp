#include "zoetrope/config/text_list.h"

#include <algorithm>

namespace zoetrope::config {

Node split_text_list(const Node& scalar) {
  Node list = Node::list(scalar.location());
  const std::string& text = scalar.text();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t first = part.find_first_not_of(" \t");
    if (first != std::string::npos) {
      const size_t last = part.find_last_not_of(" \t");
      list.push_back(Node::scalar(part.substr(first, last - first + 1), false, scalar.location()));
    }
    begin = end + 1;
  }
  return list;
}

}  // namespace zoetrope::config
