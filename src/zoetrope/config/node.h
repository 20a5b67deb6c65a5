// A config document as a tree that remembers where each value stood. YAML and overrides become
// Nodes; typed structs are read from Nodes by a Schema; resolved configs are written back as YAML.
// No yaml-cpp type leaves the .cpp files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zoetrope::config {

/// Where a value was written: `file:line`, or `--section.key` for an override.
struct Location {
  std::string source;
  int line = 0;  ///< 1-based; 0 when the source has no lines
  std::string text() const;
};

/// A value of a config document: null, a scalar (kept as its text, with whether it was quoted), a
/// list or a map. Scalars are typed only when read (YAML 1.2 rules, and YAML 1.1's `1e-5` as a
/// number), so that nothing is lost.
class Node {
 public:
  enum class Kind { kNull, kScalar, kList, kMap };

  static Node null(Location location = {});
  static Node scalar(std::string text, bool quoted = false, Location location = {});
  static Node list(Location location = {});
  static Node map(Location location = {});

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_scalar() const { return kind_ == Kind::kScalar; }
  bool is_list() const { return kind_ == Kind::kList; }
  bool is_map() const { return kind_ == Kind::kMap; }
  const Location& location() const { return location_; }
  /// `a map`, `a list`, `the number 3`, `the text 'abc'`, `null`: for messages.
  std::string describe() const;

  const std::string& text() const { return text_; }  ///< scalars only
  bool quoted() const { return quoted_; }

  const std::vector<Node>& items() const { return items_; }  ///< lists only
  const std::vector<std::pair<std::string, Node>>& entries() const {
    return entries_;
  }  ///< maps only, in file order
  void push_back(Node item) { items_.push_back(std::move(item)); }
  /// The value of `key`, or nullptr. Maps only.
  const Node* find(std::string_view key) const;
  Node* find(std::string_view key);
  /// Adds or replaces `key`. Maps only.
  Node& set(const std::string& key, Node value);
  /// Takes `key` out if it is there. Maps only.
  void erase(std::string_view key);

 private:
  Kind kind_ = Kind::kNull;
  Location location_;
  std::string text_;
  bool quoted_ = false;
  std::vector<Node> items_;
  std::vector<std::pair<std::string, Node>> entries_;
};

/// Parses YAML. `source` names the document in locations. Throws ConfigError with file:line for
/// syntax faults (tabs, duplicate keys, several documents, aliases are resolved).
Node parse_yaml(std::string_view text, const std::string& source);
/// Reads and parses a file. Throws ConfigError when it is missing, a folder, empty or not YAML.
Node parse_yaml_file(const std::filesystem::path& path);
/// YAML text that parse_yaml turns into the same tree.
std::string write_yaml(const Node& node);

}  // namespace zoetrope::config
