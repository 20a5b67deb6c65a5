#include "zoetrope/config/overrides.h"

#include <algorithm>
#include <cctype>

#include "zoetrope/base/error.h"
#include "zoetrope/config/scalar.h"

namespace zoetrope::config {
namespace {

std::string to_lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// `1_000` is a number for FastVideo (Python), not for YAML.
std::string without_digit_groups(std::string text) {
  const bool digits_only = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isdigit(c) != 0 || c == '_' || c == '-' || c == '+';
  });
  const bool groups = digits_only && !text.empty() && text.front() != '_' && text.back() != '_' &&
                      text.find("__") == std::string::npos;
  if (groups) std::erase(text, '_');
  return text;
}

/// The same tree, every value said to come from `location`.
Node moved_to(const Node& node, const Location& location) {
  if (node.is_null()) return Node::null(location);
  if (node.is_scalar()) return Node::scalar(node.text(), node.quoted(), location);
  if (node.is_list()) {
    Node list = Node::list(location);
    for (const Node& item : node.items()) list.push_back(moved_to(item, location));
    return list;
  }
  Node map = Node::map(location);
  for (const auto& [key, value] : node.entries()) map.set(key, moved_to(value, location));
  return map;
}

std::vector<std::string> split_key(const Override& override) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= override.key.size()) {
    const size_t end = std::min(override.key.find('.', begin), override.key.size());
    parts.push_back(override.key.substr(begin, end - begin));
    begin = end + 1;
  }
  if (std::find(parts.begin(), parts.end(), "") != parts.end()) {
    fail<ConfigError>("{}: an override must name keys joined by single dots, but a key is empty",
                      override.location.text());
  }
  return parts;
}

}  // namespace

Node parse_override_value(const std::string& text, const Location& location) {
  const std::string lower = to_lower(text);
  if (lower == "true" || lower == "false") return Node::scalar(lower, false, location);
  if (lower == "none" || lower == "null") return Node::null(location);
  const std::string number = without_digit_groups(text);
  if (parse_number(number)) return Node::scalar(number, false, location);
  if (lower == "inf" || lower == "-inf") {
    return Node::scalar(lower == "inf" ? ".inf" : "-.inf", false, location);
  }
  if (text.starts_with('[') && text.ends_with(']')) {
    try {
      const Node list = parse_yaml(text, location.source);
      if (list.is_list()) return moved_to(list, location);
    } catch (const ConfigError&) {
      // FastVideo's rule: what is no list is text.
      return Node::scalar(text, true, location);
    }
  }
  return Node::scalar(text, true, location);
}

std::vector<Override> parse_overrides(const std::vector<std::string>& arguments) {
  std::vector<Override> overrides;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--") || argument.size() == 2) {
      fail<ConfigError>("command line: an override must look like --section.key, but got '{}'",
                        argument);
    }
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (equals == std::string::npos && i + 1 == arguments.size()) {
      fail<ConfigError>("--{}: an override must have a value, but none follows; write --{}=VALUE",
                        key, key);
    }
    const std::string value =
        equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1);
    overrides.push_back({key, value, {"--" + key, 0}});
  }
  return overrides;
}

void apply_overrides(Node& document, const std::vector<Override>& overrides) {
  for (const Override& override : overrides) {
    const std::vector<std::string> parts = split_key(override);
    Node* section = &document;
    for (const std::string& part : parts) {
      if (section->is_null()) *section = Node::map(override.location);
      if (!section->is_map()) {
        fail<ConfigError>(
            "{}: what comes before '{}' must be a map, but it is {}; give the whole value instead",
            override.location.text(), part, section->describe());
      }
      Node* child = section->find(part);
      section = child != nullptr ? child : &section->set(part, Node::null(override.location));
    }
    *section = parse_override_value(override.value, override.location);
  }
}

void apply_overrides(Node& document, const std::vector<std::string>& arguments) {
  apply_overrides(document, parse_overrides(arguments));
}

}  // namespace zoetrope::config
