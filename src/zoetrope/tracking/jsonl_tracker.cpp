#include "zoetrope/tracking/jsonl_tracker.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <sstream>

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

nlohmann::ordered_json to_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

// Captions may hold bytes that are not UTF-8; they must not stop a run.
std::string dump(const nlohmann::ordered_json& line) {
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void remove_torn_line(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) return;
  const std::string text = read_file(path);
  const size_t end = text.rfind('\n');
  const size_t whole = end == std::string::npos ? 0 : end + 1;
  if (whole != text.size()) std::filesystem::resize_file(path, whole);
}

}  // namespace

JsonlTracker::JsonlTracker(const std::filesystem::path& path) : path_(path) {
  remove_torn_line(path);
  open();
}

void JsonlTracker::open() {
  stream_.open(path_, std::ios::app);
  if (!stream_)
    fail("{}: must be a writable file, but cannot be opened: {}", path_.string(),
         std::strerror(errno));
}

void JsonlTracker::resume_at(int64_t step) {
  std::istringstream lines(read_file(path_));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool later = json.is_object() && json.value("step", int64_t{0}) > step;
    if (!later) kept += line + '\n';
  }
  stream_.close();
  write_file_atomically(path_, kept);
  open();
}

void JsonlTracker::write(const std::string& line) {
  stream_ << line << std::endl;
  if (!stream_)
    fail("{}: the metrics could not be written: {}", path_.string(), std::strerror(errno));
}

void JsonlTracker::log(int64_t step, const std::vector<Metric>& metrics) {
  nlohmann::ordered_json line = {{"step", step}};
  for (const Metric& metric : metrics) line[metric.name] = to_json(metric.value);
  write(dump(line));
}

void JsonlTracker::log_text(int64_t step, const std::string& name, const std::string& text) {
  write(dump({{"step", step}, {"text", name}, {"value", text}}));
}

void JsonlTracker::log_image(int64_t step, const std::string& name,
                             const std::filesystem::path& png) {
  write(dump({{"step", step}, {"image", name}, {"path", png.string()}}));
}

void JsonlTracker::log_video(int64_t step, const std::string& name,
                             const std::filesystem::path& mp4, const std::string& caption,
                             double fps) {
  write(dump({{"step", step},
              {"video", name},
              {"path", mp4.string()},
              {"caption", caption},
              {"fps", fps}}));
}

}  // namespace zoetrope
