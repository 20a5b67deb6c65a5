#include <algorithm>
#include <optional>
#include <sstream>
#include <system_error>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/config/node.h"

namespace zoetrope::config {
namespace {

// Aliases may refer to themselves or multiply; a config is never this deep or this large.
constexpr int kMaxDepth = 64;
constexpr int64_t kMaxNodes = 1'000'000;
constexpr std::string_view kStandardTag = "tag:yaml.org,2002:";

/// Turns yaml-cpp's tree into Nodes: aliases and `<<` merges become plain copies.
class TreeBuilder {
 public:
  explicit TreeBuilder(std::string source) : source_(std::move(source)) {}

  Node build(const YAML::Node& node, const Location& location, int depth = 0) {
    if (depth > kMaxDepth || ++num_nodes_ > kMaxNodes) {
      fail<ConfigError>(
          "{}: a config must nest at most {} levels and hold at most {} values, but this "
          "one has more; does an alias contain itself?",
          location.text(), kMaxDepth, kMaxNodes);
    }
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        return build_scalar(node, location);
      case YAML::NodeType::Sequence:
        return build_list(node, location, depth);
      case YAML::NodeType::Map:
        return build_map(node, location, depth);
      default:
        return Node::null(location);
    }
  }

  Location locate(const YAML::Mark& mark) const { return {source_, mark.line + 1}; }

 private:
  Node build_scalar(const YAML::Node& node, const Location& location) const {
    const std::string& tag = node.Tag();
    const std::string_view type =
        tag.starts_with(kStandardTag) ? std::string_view(tag).substr(kStandardTag.size()) : tag;
    const bool quoted = type == "!" || type == "str";
    if (!quoted && type != "?" && !type.empty() && type != "int" && type != "float" &&
        type != "bool") {
      fail<ConfigError>("{}: a value must be plain YAML, but got the tag '{}'; leave the tag out",
                        location.text(), tag);
    }
    return Node::scalar(node.Scalar(), quoted, location);
  }

  Node build_list(const YAML::Node& node, const Location& location, int depth) {
    Node list = Node::list(location);
    for (const YAML::Node& item : node) list.push_back(build(item, locate(item.Mark()), depth + 1));
    return list;
  }

  Node build_map(const YAML::Node& node, const Location& location, int depth) {
    Node map = Node::map(location);
    Node merged = Node::map(location);
    for (const auto& entry : node) {
      const Location key_location = locate(entry.first.Mark());
      if (!entry.first.IsScalar()) {
        fail<ConfigError>("{}: a key must be text, but got {}", key_location.text(),
                          build(entry.first, key_location, depth + 1).describe());
      }
      const std::string& key = entry.first.Scalar();
      // The key's line, not the value's: where a reader looks for a section or for what an alias
      // was used for.
      Node value = build(entry.second, key_location, depth + 1);
      if (key == "<<" && entry.first.Tag() != "!") {
        merge(value, merged);
        continue;
      }
      if (const Node* first = map.find(key)) {
        fail<ConfigError>("{}: a key must be given once, but '{}' was already given at line {}",
                          key_location.text(), key, first->location().line);
      }
      map.set(key, std::move(value));
    }
    for (const auto& [key, value] : merged.entries()) {
      if (map.find(key) == nullptr) map.set(key, value);
    }
    return map;
  }

  static void merge(const Node& value, Node& merged) {
    if (value.is_map()) {
      for (const auto& [key, child] : value.entries()) {
        if (merged.find(key) == nullptr) merged.set(key, child);
      }
      return;
    }
    if (!value.is_list()) {
      fail<ConfigError>("{}: '<<' must merge a map or a list of maps, but got {}",
                        value.location().text(), value.describe());
    }
    for (const Node& item : value.items()) merge(item, merged);
  }

  std::string source_;
  int64_t num_nodes_ = 0;
};

std::string_view line_of(std::string_view text, int line) {
  size_t begin = 0;
  for (int i = 0; i < line && begin != std::string_view::npos; ++i) {
    begin = text.find('\n', begin);
    if (begin != std::string_view::npos) ++begin;
  }
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find('\n', begin) - begin);
}

bool has_tab_indent(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r");
  return first != std::string_view::npos && line[first] != '#' &&
         line.substr(0, first).find('\t') != std::string_view::npos;
}

[[noreturn]] void fail_with_tab(const Location& location) {
  fail<ConfigError>("{}: lines must be indented with spaces, but this one has a tab",
                    location.text());
}

void check_tabs(std::string_view text, const std::string& source) {
  int line = 0;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view content = text.substr(begin, end - begin);
    if (content.starts_with('\t') && has_tab_indent(content)) fail_with_tab({source, line + 1});
    begin = end + 1;
  }
}

/// Hears a document without keeping it, but for where it begins.
class Listener : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { begin = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {}
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {}
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {}
  void OnMapEnd() override {}

  YAML::Mark begin;
};

/// Where a second document begins. YAML::LoadAll finds documents without end in some damaged texts,
/// and YAML::Load passes over all but the first.
std::optional<YAML::Mark> second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Listener listener;
  if (!parser.HandleNextDocument(listener) || !parser.HandleNextDocument(listener))
    return std::nullopt;
  return listener.begin;
}

}  // namespace

Node parse_yaml(std::string_view text, const std::string& source) {
  check_tabs(text, source);
  TreeBuilder builder(source);
  YAML::Node document;
  std::optional<YAML::Mark> second;
  try {
    second = second_document(std::string(text));
    if (!second) document = YAML::Load(std::string(text));
  } catch (const YAML::Exception& error) {
    const Location location = builder.locate(error.mark);
    if (has_tab_indent(line_of(text, error.mark.line))) fail_with_tab(location);
    fail<ConfigError>("{}: must be YAML, but {} (column {})", location.text(), error.msg,
                      error.mark.column + 1);
  }
  if (second) {
    fail<ConfigError>(
        "{}: a config must be one YAML document, but another begins here; remove the "
        "'---' lines",
        builder.locate(*second).text());
  }
  if (document.IsNull() && document.Mark().is_null()) return Node::null({source, 1});
  return builder.build(document, builder.locate(document.Mark()));
}

Node parse_yaml_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    fail<ConfigError>("{}: must be a config file, but there is no such file", path.string());
  }
  if (std::filesystem::is_directory(status)) {
    fail<ConfigError>("{}: must be a config file, but it is a folder", path.string());
  }
  Node node = parse_yaml(read_file(path), path.string());
  if (node.is_null()) fail<ConfigError>("{}: must hold a config, but it is empty", path.string());
  return node;
}

}  // namespace zoetrope::config
