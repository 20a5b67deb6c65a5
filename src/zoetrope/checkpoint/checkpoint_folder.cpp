#include "zoetrope/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <strings.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/log.h"
#include "zoetrope/checkpoint/dcp/file_checksum.h"

namespace zoetrope {
namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kMarker = "COMPLETE";
constexpr const char* kMetadata = "metadata.json";

std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* first = name.data() + std::string_view(kPrefix).size();
  const char* last = name.data() + name.size();
  int64_t step = 0;
  const auto [end, error] = std::from_chars(first, last, step);
  if (error != std::errc() || end != last || step < 0) return std::nullopt;
  return step;
}

// FastVideo's checkpoints have no marker and no section of ours in their metadata.
bool is_foreign(const fs::path& checkpoint) {
  const fs::path metadata = checkpoint / kMetadata;
  if (!fs::is_regular_file(metadata)) return true;
  const auto json = nlohmann::json::parse(read_file(metadata), nullptr, /*allow_exceptions=*/false);
  return json.is_object() && !json.contains("zoetrope");
}

std::vector<std::string> missing_parts(const fs::path& checkpoint) {
  std::vector<std::string> faults;
  if (!fs::is_regular_file(checkpoint / "dcp" / ".metadata"))
    faults.emplace_back("dcp/.metadata is missing");
  return faults;
}

std::optional<std::string> file_fault(const fs::path& checkpoint, const std::string& line) {
  const size_t space = line.find("  ");
  if (space == std::string::npos) return fmt::format("{} has the damaged line '{}'", kMarker, line);
  const std::string name = line.substr(space + 2);
  const fs::path file = checkpoint / name;
  if (!fs::is_regular_file(file)) return fmt::format("{} is missing", name);
  if (file_checksum(file) == line.substr(0, space)) return std::nullopt;
  return fmt::format("{} does not have the checksum that {} gives", name, kMarker);
}

// Reading all bytes of a large checkpoint takes seconds to minutes.
void announce_long_check(const fs::path& checkpoint) {
  constexpr uint64_t kLongBytes = uint64_t{2} << 30;
  uint64_t num_bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(checkpoint)) {
    if (entry.is_regular_file()) num_bytes += entry.file_size();
  }
  if (num_bytes >= kLongBytes)
    log_info("{}: comparing the checksums of {}", checkpoint.string(), format_bytes(num_bytes));
}

std::vector<CheckpointFolder> candidates(const fs::path& path) {
  if (const auto step = step_of(path)) return {{path, *step}};
  if (path.filename() == "dcp") {
    if (const auto step = step_of(path.parent_path())) return {{path.parent_path(), *step}};
  }
  return list_checkpoints(path);
}

void remove_folder(const fs::path& folder) {
  const fs::path hidden =
      folder.parent_path() / fmt::format(".{}.deleted", folder.filename().string());
  fs::remove_all(hidden);
  fs::rename(folder, hidden);
  fs::remove_all(hidden);
}

bool is_leftover(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(std::string(".") + kPrefix) &&
         (name.ends_with(".partial") || name.ends_with(".deleted"));
}

}  // namespace

CheckpointFolder checkpoint_folder(const fs::path& output_dir, int64_t step) {
  return {output_dir / fmt::format("{}{}", kPrefix, step), step};
}

std::vector<CheckpointFolder> list_checkpoints(const fs::path& output_dir) {
  std::vector<CheckpointFolder> found;
  if (!fs::is_directory(output_dir)) return found;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    const auto step = step_of(entry.path());
    if (step && entry.is_directory()) found.push_back({entry.path(), *step});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.step > b.step; });
  return found;
}

void write_complete_marker(const fs::path& checkpoint, const FileChecksums& files) {
  std::string text;
  for (const auto& [name, checksum] : files) text += fmt::format("{}  {}\n", checksum, name);
  write_file_atomically(checkpoint / kMarker, text);
}

std::vector<std::string> checkpoint_faults(const CheckpointFolder& checkpoint) {
  std::vector<std::string> faults = missing_parts(checkpoint.path);
  if (!faults.empty() || is_foreign(checkpoint.path)) return faults;
  if (!fs::is_regular_file(checkpoint.path / kMarker))
    return {fmt::format("{} is missing, so it was not written to its end", kMarker)};
  std::istringstream lines(read_file(checkpoint.path / kMarker));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (const auto fault = file_fault(checkpoint.path, line)) faults.push_back(*fault);
    names.push_back(line);
  }
  if (names.empty()) faults.push_back(fmt::format("{} is empty", kMarker));
  return faults;
}

bool is_latest(const std::string& resume_from_checkpoint) {
  return strcasecmp(resume_from_checkpoint.c_str(), "latest") == 0;
}

std::optional<CheckpointFolder> resolve_resume(const std::string& value,
                                               const fs::path& output_dir) {
  const bool latest = is_latest(value);
  const std::vector<CheckpointFolder> found = candidates(latest ? output_dir : fs::path(value));
  if (found.empty()) {
    if (latest) return std::nullopt;
    fail<CheckpointError>(
        "training.checkpoint.resume_from_checkpoint: must be 'latest', a folder checkpoint-<step>, "
        "its dcp folder, or a folder that holds checkpoints, but '{}' {}",
        value, fs::exists(value) ? "is none of these" : "does not exist");
  }
  for (const CheckpointFolder& checkpoint : found) {
    announce_long_check(checkpoint.path);
    const std::vector<std::string> faults = checkpoint_faults(checkpoint);
    if (faults.empty()) return checkpoint;
    const std::string what =
        fmt::format("{}: must be whole, but {}", checkpoint.path.string(), fmt::join(faults, "; "));
    if (!latest) fail<CheckpointError>("{}; name an earlier checkpoint, or use 'latest'", what);
    log_info("{}; trying the one before", what);
  }
  fail<CheckpointError>(
      "{}: must hold a whole checkpoint to resume from, but all {} are damaged; remove them to "
      "start afresh",
      output_dir.string(), found.size());
}

void prune_checkpoints(const fs::path& output_dir, int64_t limit) {
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    if (is_leftover(entry.path())) leftovers.push_back(entry.path());
  }
  for (const fs::path& leftover : leftovers) fs::remove_all(leftover);
  if (limit == 0) return;
  int64_t num_kept = 0;
  for (const CheckpointFolder& checkpoint : list_checkpoints(output_dir)) {
    const bool complete = is_foreign(checkpoint.path)
                              ? missing_parts(checkpoint.path).empty()
                              : fs::is_regular_file(checkpoint.path / kMarker);
    if (!complete) continue;
    if (num_kept < limit) {
      ++num_kept;
    } else {
      remove_folder(checkpoint.path);
    }
  }
}

}  // namespace zoetrope
