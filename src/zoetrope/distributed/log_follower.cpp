#include "zoetrope/distributed/log_follower.h"

#include <array>
#include <deque>
#include <fstream>

namespace zoetrope {
namespace fs = std::filesystem;

uint64_t size_of_file(const fs::path& path) {
  std::error_code absent;
  const uint64_t size = fs::file_size(path, absent);
  return absent ? 0 : size;
}

LogFollower::LogFollower(fs::path path, std::FILE* to)
    : path_(std::move(path)), to_(to), position_(size_of_file(path_)) {}

void LogFollower::copy_new() {
  if (size_of_file(path_) <= position_) return;
  std::ifstream stream(path_, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(position_));
  std::array<char, 16384> bytes{};
  while (stream.read(bytes.data(), bytes.size()), stream.gcount() > 0) {
    const auto count = static_cast<size_t>(stream.gcount());
    std::fwrite(bytes.data(), 1, count, to_);
    position_ += count;
  }
  std::fflush(to_);
}

std::string last_lines(const fs::path& path, uint64_t start, int count, const std::string& prefix) {
  std::ifstream stream(path, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(start));
  std::deque<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
    if (lines.size() > static_cast<size_t>(count)) lines.pop_front();
  }
  std::string text;
  for (const std::string& line : lines) text += prefix + line + "\n";
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace zoetrope
