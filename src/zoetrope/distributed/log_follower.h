// Copies what is added to a file to another stream, and reads a log's last lines.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace zoetrope {

class LogFollower {
 public:
  /// Starts at the present end of `path`; there may be no such file yet.
  LogFollower(std::filesystem::path path, std::FILE* to);
  /// Copies what has come since.
  void copy_new();

 private:
  std::filesystem::path path_;
  std::FILE* to_;
  uint64_t position_;
};

/// The last `count` lines of the file from `start` (bytes) on, each after `prefix`.
std::string last_lines(const std::filesystem::path& path, uint64_t start, int count,
                       const std::string& prefix);

/// 0 when there is no such file.
uint64_t size_of_file(const std::filesystem::path& path);

}  // namespace zoetrope
