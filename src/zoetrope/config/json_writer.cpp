#include "zoetrope/config/json_writer.h"

#include <nlohmann/json.hpp>

#include "zoetrope/config/scalar.h"

namespace zoetrope::config {
namespace {

nlohmann::ordered_json scalar_to_json(const Node& node) {
  if (node.quoted()) return node.text();
  if (const auto value = parse_bool(node.text())) return *value;
  const bool looks_integral = node.text().find_first_of(".eE") == std::string::npos;
  if (const auto value = parse_integer(node.text()); value && looks_integral) return *value;
  if (const auto value = parse_number(node.text())) return *value;
  return node.text();
}

}  // namespace

nlohmann::ordered_json to_json(const Node& node) {
  switch (node.kind()) {
    case Node::Kind::kNull:
      return nullptr;
    case Node::Kind::kScalar:
      return scalar_to_json(node);
    case Node::Kind::kList: {
      auto list = nlohmann::ordered_json::array();
      for (const Node& item : node.items()) list.push_back(to_json(item));
      return list;
    }
    case Node::Kind::kMap: {
      auto map = nlohmann::ordered_json::object();
      for (const auto& [key, value] : node.entries()) map[key] = to_json(value);
      return map;
    }
  }
  return nullptr;
}

}  // namespace zoetrope::config
