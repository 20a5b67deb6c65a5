#include "zoetrope/config/issues.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"

namespace zoetrope::config {
namespace {

/// `file:line: dotted.path`.
std::string place_of(const Location& location, const std::string& path) {
  std::string source = location.text();
  // An override's source already names the place (in a stage, if it is one's), or one below it when
  // the override made the section.
  if (source.starts_with("--") && source.find(path) != std::string::npos) return source;
  return source + (source.empty() || path.empty() ? "" : ": ") + path;
}

std::string join(const std::string& place, const std::string& message) {
  return place + (place.empty() || message.empty() ? "" : ": ") + message;
}

}  // namespace

void Issues::insert(std::vector<Entry>& entries, Entry entry) {
  const bool known = std::any_of(entries.begin(), entries.end(),
                                 [&](const Entry& other) { return other.says_the_same(entry); });
  if (known) return;
  const auto before = [](const Entry& a, const Entry& b) {
    return std::tie(a.location.source, a.location.line) <
           std::tie(b.location.source, b.location.line);
  };
  entries.insert(std::upper_bound(entries.begin(), entries.end(), entry, before), entry);
}

void Issues::add(const Location& location, const std::string& path, const std::string& message) {
  insert(faults_, {location, place_of(location, path), message});
}

void Issues::note(const Location& location, const std::string& path, const std::string& message) {
  insert(notes_, {location, place_of(location, path), message});
}

void Issues::add_parts(const std::vector<std::pair<std::string, Issues>>& parts) {
  for (const auto& [name, part] : parts) {
    for (const Entry& fault : part.faults_) {
      const bool is_shared = std::all_of(parts.begin(), parts.end(), [&](const auto& other) {
        const std::vector<Entry>& faults = other.second.faults_;
        return std::any_of(faults.begin(), faults.end(),
                           [&](const Entry& entry) { return entry.says_the_same(fault); });
      });
      Entry named = fault;
      if (!is_shared) named.message += fmt::format(" ({})", name);
      insert(faults_, named);
    }
    for (const Entry& note : part.notes_) insert(notes_, note);
  }
}

std::vector<std::string> Issues::faults() const {
  std::vector<std::string> texts;
  texts.reserve(faults_.size());
  for (const Entry& fault : faults_) texts.push_back(join(fault.place, fault.message));
  return texts;
}

std::vector<std::string> Issues::notes() const {
  std::vector<Entry> merged;
  for (const Entry& note : notes_) {
    const auto same = std::find_if(merged.begin(), merged.end(), [&](const Entry& other) {
      return other.message == note.message;
    });
    if (same == merged.end()) {
      merged.push_back(note);
    } else {
      same->place += ", " + note.place;
    }
  }
  std::vector<std::string> texts;
  texts.reserve(merged.size());
  for (const Entry& note : merged) texts.push_back(join(note.place, note.message));
  return texts;
}

void Issues::throw_if_any() const {
  if (ok()) return;
  const std::vector<std::string> texts = faults();
  if (texts.size() == 1) throw ConfigError(texts.front());
  throw ConfigError(
      fmt::format("the config has {} faults:\n  {}", texts.size(), fmt::join(texts, "\n  ")));
}

}  // namespace zoetrope::config
