#include "zoetrope/data/preprocess/manifest.h"

#include <sstream>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

nlohmann::json reject_line(const Reject& reject) {
  return {{"id", reject.id},
          {"source", reject.source},
          {"reason", reject.reason},
          {"rows_kept", reject.num_rows_kept}};
}

/// One JSON object a line.
std::vector<nlohmann::json> read_lines(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_file(path));
  std::string line;
  for (int number = 1; std::getline(text, line); ++number) {
    try {
      lines.push_back(nlohmann::json::parse(line));
    } catch (const nlohmann::json::parse_error& error) {
      fail<DataError>("{}:{}: must be JSON, but {}; remove the folder to begin anew", path.string(),
                      number, error.what());
    }
  }
  return lines;
}

std::string list_differences(const nlohmann::json& stored, const nlohmann::json& wanted) {
  std::vector<std::string> differences;
  for (const auto& [key, value] : wanted.items()) {
    const nlohmann::json before = stored.value(key, nlohmann::json());
    if (before != value) {
      differences.push_back(
          fmt::format("{} was {} and is now {}", key, before.dump(), value.dump()));
    }
  }
  return fmt::format("{}", fmt::join(differences, "; "));
}

}  // namespace

Manifest::Manifest(fs::path folder, nlohmann::json settings)
    : folder_(std::move(folder)), settings_(std::move(settings)) {
  if (fs::exists(folder_ / "manifest.jsonl")) {
    load();
    return;
  }
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail("{}: the folder cannot be made: {}", folder_.string(), error.message());
  for (const fs::directory_entry& file : fs::directory_iterator(folder_)) {
    if (file.path().extension() == ".parquet") {
      fail<DataError>(
          "{}: must be empty or a folder that `preprocess` was writing, but holds {} and no "
          "manifest.jsonl; name another output folder",
          folder_.string(), file.path().filename().string());
    }
  }
  save();
}

void Manifest::load() {
  const fs::path path = folder_ / "manifest.jsonl";
  const std::vector<nlohmann::json> lines = read_lines(path);
  try {
    const nlohmann::json& stored = lines.at(0).at("settings");
    const bool has_rows = lines.at(1).at("chunks") > 0 || lines.at(1).at("finished").get<bool>();
    if (!has_rows) return;  // nothing was made with the old settings yet
    if (stored != settings_) {
      fail<DataError>("{}: was made with other settings or sources: {}; name another output folder",
                      folder_.string(), list_differences(stored, settings_));
    }
    for (size_t i = 1; i < lines.size(); ++i) {
      const nlohmann::json& line = lines[i];
      if (line.contains("reason")) {
        rejects_.push_back(
            {line.at("id"), line.at("source"), line.at("reason"), line.at("rows_kept")});
      } else {
        num_chunks_ = line.at("chunks");
        num_rows_ = line.at("rows");
        next_entry_ = line.at("next_entry");
        next_clip_ = line.at("next_clip");
        finished_ = line.at("finished");
      }
    }
  } catch (const nlohmann::json::exception& error) {
    fail<DataError>("{}: must be the manifest of a preprocessing run, but {}", path.string(),
                    error.what());
  } catch (const std::out_of_range&) {
    fail<DataError>("{}: must be the manifest of a preprocessing run, but ends too early",
                    path.string());
  }
}

void Manifest::save() const {
  std::string text = nlohmann::json({{"settings", settings_}}).dump() + "\n";
  text += nlohmann::json({{"chunks", num_chunks_},
                          {"rows", num_rows_},
                          {"next_entry", next_entry_},
                          {"next_clip", next_clip_},
                          {"finished", finished_}})
              .dump() +
          "\n";
  std::string listed;
  for (const Reject& reject : rejects_) listed += reject_line(reject).dump() + "\n";
  write_file_atomically(rejects_path(), listed);
  write_file_atomically(folder_ / "manifest.jsonl", text + listed);
}

void Manifest::commit_chunk(int64_t num_rows, int64_t next_entry, int64_t next_clip) {
  ++num_chunks_;
  num_rows_ += num_rows;
  next_entry_ = next_entry;
  next_clip_ = next_clip;
  save();
}

void Manifest::commit_end(int64_t num_entries) {
  next_entry_ = num_entries;
  next_clip_ = 0;
  finished_ = true;
  save();
}

}  // namespace zoetrope
