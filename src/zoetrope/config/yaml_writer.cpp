#include <algorithm>

#include <fmt/format.h>

#include "zoetrope/config/node.h"
#include "zoetrope/config/scalar.h"

namespace zoetrope::config {
namespace {

constexpr size_t kMaxFlowListWidth = 80;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Whether the text means itself without quotes in every YAML position. Narrower than YAML allows,
/// on purpose.
bool is_plain_text(const std::string& text) {
  if (text.empty() || text.back() == ' ' || text == "---" || text == "...") return false;
  const bool opens_well = is_word(text[0]) || text[0] == '.' || text[0] == '/' ||
                          ((text[0] == '-' || text[0] == '+') && text.size() > 1 &&
                           (is_word(text[1]) || text[1] == '.'));
  if (!opens_well) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool inner_colon = c == ':' && i + 1 < text.size() && text[i + 1] != ' ';
    if (!is_word(c) && !inner_colon &&
        std::string_view(" ./+-@=%()$^~;").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (code < 0x20 || code == 0x7f) {
      quoted += fmt::format("\\x{:02x}", code);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

bool is_typed(const std::string& text) {
  return is_null_text(text) || parse_bool(text) || parse_number(text);
}

std::string scalar_text(const Node& node) {
  const bool needs_quotes = !is_plain_text(node.text()) || (node.quoted() && is_typed(node.text()));
  return needs_quotes ? quote(node.text()) : node.text();
}

std::string key_text(const std::string& key) {
  return is_plain_text(key) && !is_null_text(key) && key != "<<" ? key : quote(key);
}

/// One-line form of what fits on the line of its key, else an empty string.
std::string inline_text(const Node& node) {
  if (node.is_null()) return "null";
  if (node.is_scalar()) return scalar_text(node);
  if (node.is_map()) return node.entries().empty() ? "{}" : "";
  std::string text = "[";
  for (const Node& item : node.items()) {
    if (item.is_list() || item.is_map()) return "";
    text += (text.size() > 1 ? ", " : "") + inline_text(item);
  }
  return text.size() < kMaxFlowListWidth ? text + "]" : "";
}

void write_block(const Node& node, const std::string& indent, std::string& out);

void write_child(const Node& child, const std::string& indent, std::string& out) {
  const std::string text = inline_text(child);
  if (!text.empty()) {
    out += " " + text + "\n";
    return;
  }
  out += "\n";
  write_block(child, indent + "  ", out);
}

void write_block(const Node& node, const std::string& indent, std::string& out) {
  for (const auto& [key, child] : node.entries()) {
    out += indent + key_text(key) + ":";
    write_child(child, indent, out);
  }
  for (const Node& item : node.items()) {
    out += indent + "-";
    write_child(item, indent, out);
  }
}

}  // namespace

std::string write_yaml(const Node& node) {
  std::string out = inline_text(node);
  if (!out.empty()) return out + "\n";
  write_block(node, "", out);
  return out;
}

}  // namespace zoetrope::config
