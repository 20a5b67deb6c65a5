// A folder that only one process may write at a time. The lock is the kernel's and vanishes with
// the process, however it ends; the file `.lock` that carries it stays.
#pragma once

#include <filesystem>

namespace zoetrope {

class FolderLock {
 public:
  /// Creates `folder` if it is absent. Throws Error that names the other process when one holds the
  /// folder.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace zoetrope
