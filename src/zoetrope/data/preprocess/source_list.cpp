#include "zoetrope/data/preprocess/source_list.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/actions/action_file.h"
#include "zoetrope/data/preprocess/csv.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

constexpr std::array kPathColumns = {"path", "video", "file_name"};
constexpr std::array kCaptionColumns = {"caption", "cap", "text", "prompt"};
constexpr std::array kActionColumns = {"actions", "action_path"};
constexpr std::array kVideoExtensions = {".avi", ".gif",  ".m4v", ".mkv",  ".mov", ".mp4",
                                         ".mpg", ".mpeg", ".ts",  ".webm", ".y4m"};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// Where an entry came from, for messages.
struct ListPlace {
  const fs::path& file;
  int line;
  std::string text() const {
    return line == 0 ? file.string() : fmt::format("{}:{}", file.string(), line);
  }
};

fs::path find_listed(const fs::path& folder, const std::string& name) {
  fs::path direct = folder / name;
  if (fs::exists(direct)) return direct;
  fs::path below = folder / "videos" / name;
  return fs::exists(below) ? below : direct;
}

void add_captions(const nlohmann::json& value, const ListPlace& place,
                  std::vector<std::string>& captions) {
  if (value.is_null()) return;
  if (value.is_array()) {
    for (const nlohmann::json& item : value) add_captions(item, place, captions);
    return;
  }
  if (!value.is_string()) {
    fail<DataError>("{}: a caption must be a text or a list of texts, but got {}", place.text(),
                    value.dump());
  }
  if (std::string text = trim(value.get<std::string>()); !text.empty()) {
    captions.push_back(std::move(text));
  }
}

double read_start(const nlohmann::json& value, const ListPlace& place) {
  double start_sec = -1.0;
  if (value.is_number()) start_sec = value.get<double>();
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (text.empty()) return 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), start_sec);
    if (error != std::errc() || end != text.data() + text.size()) start_sec = -1.0;
  }
  if (!(start_sec >= 0.0)) {
    fail<DataError>("{}: 'start' must be a number of seconds >= 0, but got {}", place.text(),
                    value.dump());
  }
  return start_sec;
}

SourceEntry read_entry(const nlohmann::json& object, const ListPlace& place) {
  if (!object.is_object()) {
    fail<DataError>("{}: must be an object with a path and a caption, but got {}", place.text(),
                    object.dump());
  }
  SourceEntry entry;
  for (const char* column : kPathColumns) {
    if (!object.contains(column) || !entry.name.empty()) continue;
    if (!object[column].is_string()) {
      fail<DataError>("{}: '{}' must be a text, but got {}", place.text(), column,
                      object[column].dump());
    }
    entry.name = object[column].get<std::string>();
  }
  if (!entry.name.empty()) entry.video = find_listed(place.file.parent_path(), entry.name);
  for (const char* column : kCaptionColumns) {
    if (object.contains(column)) add_captions(object[column], place, entry.captions);
  }
  for (const char* column : kActionColumns) {
    if (!object.contains(column) || !object[column].is_string()) continue;
    const auto name = object[column].get<std::string>();
    if (!name.empty()) entry.actions_file = find_listed(place.file.parent_path(), name);
  }
  if (object.contains("start")) entry.start_sec = read_start(object["start"], place);
  return entry;
}

nlohmann::json parse_json(const std::string& text, const ListPlace& place) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    fail<DataError>("{}: must be JSON, but {}", place.text(), error.what());
  }
}

std::vector<SourceEntry> read_json_list(const fs::path& file) {
  const ListPlace whole{file, 0};
  const nlohmann::json document = parse_json(read_file(file), whole);
  if (!document.is_array()) {
    fail<DataError>("{}: must be a list of objects with a path and a caption, but is {}",
                    file.string(), document.type_name());
  }
  std::vector<SourceEntry> entries;
  for (const nlohmann::json& object : document) entries.push_back(read_entry(object, whole));
  return entries;
}

std::vector<SourceEntry> read_json_lines(const fs::path& file) {
  std::vector<SourceEntry> entries;
  std::istringstream lines(read_file(file));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (trim(line).empty()) continue;
    const ListPlace place{file, number};
    entries.push_back(read_entry(parse_json(line, place), place));
  }
  return entries;
}

std::vector<SourceEntry> read_csv_list(const fs::path& file) {
  std::vector<SourceEntry> entries;
  for (const CsvRecord& record : parse_csv(read_file(file), file.string())) {
    entries.push_back(read_entry(record.values, {file, record.line}));
  }
  return entries;
}

std::vector<SourceEntry> read_text_lines(const fs::path& file) {
  std::vector<SourceEntry> entries;
  std::istringstream lines(read_file(file));
  std::string line;
  while (std::getline(lines, line)) {
    if (std::string caption = trim(line); !caption.empty()) {
      entries.emplace_back().captions.push_back(std::move(caption));
    }
  }
  return entries;
}

std::vector<SourceEntry> read_folder(const fs::path& folder) {
  std::vector<fs::path> videos;
  for (const fs::directory_entry& file : fs::recursive_directory_iterator(folder)) {
    const std::string extension = lower(file.path().extension().string());
    if (file.is_regular_file() &&
        std::ranges::find(kVideoExtensions, extension) != kVideoExtensions.end()) {
      videos.push_back(file.path());
    }
  }
  std::ranges::sort(videos);
  std::vector<SourceEntry> entries;
  for (const fs::path& video : videos) {
    SourceEntry& entry = entries.emplace_back();
    entry.name = video.lexically_relative(folder).generic_string();
    entry.video = video;
    const fs::path caption = fs::path(video).replace_extension(".txt");
    if (!fs::exists(caption)) continue;
    if (std::string text = trim(read_file(caption)); !text.empty()) {
      entry.captions.push_back(std::move(text));
    }
  }
  return entries;
}

std::vector<SourceEntry> read_list_file(const fs::path& file) {
  const std::string extension = lower(file.extension().string());
  if (extension == ".json") return read_json_list(file);
  if (extension == ".jsonl" || extension == ".ndjson") return read_json_lines(file);
  if (extension == ".csv") return read_csv_list(file);
  fail<DataError>(
      "{}: must be a folder of videos, a .csv, a .jsonl, or a .json list, but ends in '{}'",
      file.string(), extension);
}

std::vector<SourceEntry> read_any(const fs::path& input) {
  if (!fs::exists(input)) {
    fail<DataError>("{}: must be a folder of videos or a list of them, but does not exist",
                    input.string());
  }
  if (!fs::is_directory(input)) return read_list_file(input);
  const fs::path list = input / "videos2caption.json";
  return fs::exists(list) ? read_json_list(list) : read_folder(input);
}

/// Ids from names; a second entry of the same name (another start, say) gets `#2`, and so on.
void name_entries(std::vector<SourceEntry>& entries) {
  std::map<std::string, int64_t> counts;
  for (size_t i = 0; i < entries.size(); ++i) {
    SourceEntry& entry = entries[i];
    if (entry.name.empty()) {
      entry.id = fmt::format("{:06}", i);
      continue;
    }
    const std::string id = fs::path(entry.name).replace_extension().generic_string();
    const int64_t count = ++counts[id];
    entry.id = count == 1 ? id : fmt::format("{}#{}", id, count);
  }
}

}  // namespace

std::vector<SourceEntry> list_videos(const fs::path& input) {
  std::vector<SourceEntry> entries = read_any(input);
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].video.empty()) continue;
    fail<DataError>(
        "{}: every entry must have a 'path', 'video' or 'file_name', but entry {} has "
        "none; for captions alone use --text-only",
        input.string(), i + 1);
  }
  if (entries.empty()) {
    fail<DataError>("{}: must hold at least one video (*.mp4, *.mkv, ...), but holds none",
                    input.string());
  }
  name_entries(entries);
  return entries;
}

FrameActions actions_of(const SourceEntry& entry) {
  if (entry.actions) return *entry.actions;
  return read_action_file(entry.actions_file.empty() ? find_action_file(entry.video)
                                                     : entry.actions_file);
}

std::vector<SourceEntry> list_texts(const fs::path& input) {
  const bool is_text = !fs::is_directory(input) && lower(input.extension().string()) == ".txt";
  std::vector<SourceEntry> entries = is_text ? read_text_lines(input) : read_any(input);
  if (entries.empty()) {
    fail<DataError>("{}: must hold at least one caption, but holds none", input.string());
  }
  name_entries(entries);
  return entries;
}

}  // namespace zoetrope
