#include "zoetrope/config/node.h"

#include <fmt/format.h>

#include "zoetrope/config/scalar.h"

namespace zoetrope::config {

std::string Location::text() const {
  return line > 0 ? fmt::format("{}:{}", source, line) : source;
}

Node Node::null(Location location) {
  Node node;
  node.location_ = std::move(location);
  return node;
}

Node Node::scalar(std::string text, bool quoted, Location location) {
  Node node = null(std::move(location));
  node.kind_ = Kind::kScalar;
  node.text_ = std::move(text);
  node.quoted_ = quoted;
  return node;
}

Node Node::list(Location location) {
  Node node = null(std::move(location));
  node.kind_ = Kind::kList;
  return node;
}

Node Node::map(Location location) {
  Node node = null(std::move(location));
  node.kind_ = Kind::kMap;
  return node;
}

std::string Node::describe() const {
  switch (kind_) {
    case Kind::kNull:
      return "null";
    case Kind::kList:
      return items_.empty() ? "an empty list" : "a list";
    case Kind::kMap:
      return entries_.empty() ? "an empty map" : "a map";
    case Kind::kScalar:
      break;
  }
  if (!quoted_ && parse_bool(text_)) return text_;
  if (!quoted_ && parse_number(text_)) return fmt::format("the number {}", text_);
  return fmt::format("the text '{}'", text_);
}

const Node* Node::find(std::string_view key) const {
  for (const auto& [name, value] : entries_) {
    if (name == key) return &value;
  }
  return nullptr;
}

Node* Node::find(std::string_view key) {
  for (auto& [name, value] : entries_) {
    if (name == key) return &value;
  }
  return nullptr;
}

Node& Node::set(const std::string& key, Node value) {
  if (Node* existing = find(key)) {
    *existing = std::move(value);
    return *existing;
  }
  entries_.emplace_back(key, std::move(value));
  return entries_.back().second;
}

void Node::erase(std::string_view key) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.first == key; });
}

}  // namespace zoetrope::config
