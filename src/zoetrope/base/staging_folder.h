// A folder that appears under its name only when all of it is there: it is filled under another
// name beside it, which an interrupted process leaves behind and the next one clears away.
#pragma once

#include <filesystem>

namespace zoetrope {

class StagingFolder {
 public:
  /// Creates `.<name>.partial` beside `target`, empty.
  explicit StagingFolder(const std::filesystem::path& target);
  /// Removes what was not put in place.
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  /// The folder to fill.
  const std::filesystem::path& path() const { return path_; }
  /// Gives the folder the target's name and flushes the change to disk; what had the name before is
  /// deleted.
  void put_in_place() { put_in_place(path_); }
  /// The same with one file or folder in it.
  void put_in_place(const std::filesystem::path& part);

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
};

}  // namespace zoetrope
