#include "zoetrope/config/issues.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "zoetrope/base/error.h"

namespace zoetrope::config {
namespace {

std::string join(const Location& location, const std::string& path, const std::string& message) {
  std::string text = location.text();
  // An override's source already names the place, or one below it when the override made the
  // section.
  const bool same = text.starts_with("--" + path);
  for (const std::string& part : {same ? std::string() : path, message}) {
    if (!part.empty()) text += (text.empty() ? "" : ": ") + part;
  }
  return text;
}

}  // namespace

void Issues::insert(std::vector<Entry>& entries, Entry entry) {
  const bool known = std::any_of(entries.begin(), entries.end(),
                                 [&](const Entry& other) { return other.text == entry.text; });
  if (known) return;
  const auto before = [](const Entry& a, const Entry& b) {
    return std::tie(a.location.source, a.location.line) <
           std::tie(b.location.source, b.location.line);
  };
  entries.insert(std::upper_bound(entries.begin(), entries.end(), entry, before), entry);
}

std::vector<std::string> Issues::texts(const std::vector<Entry>& entries) {
  std::vector<std::string> texts;
  for (const Entry& entry : entries) texts.push_back(entry.text);
  return texts;
}

void Issues::add(const Location& location, const std::string& path, const std::string& message) {
  insert(faults_, {location, join(location, path, message)});
}

void Issues::note(const Location& location, const std::string& path, const std::string& message) {
  insert(notes_, {location, join(location, path, message)});
}

void Issues::throw_if_any() const {
  if (ok()) return;
  if (faults_.size() == 1) throw ConfigError(faults_.front().text);
  std::string text = fmt::format("the config has {} faults:", faults_.size());
  for (const Entry& fault : faults_) text += "\n  " + fault.text;
  throw ConfigError(text);
}

}  // namespace zoetrope::config
