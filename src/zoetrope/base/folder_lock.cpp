#include "zoetrope/base/folder_lock.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

std::string holder(int descriptor) {
  char text[32] = {};
  const ssize_t length = pread(descriptor, text, sizeof(text) - 1, 0);
  return length > 0 ? fmt::format("process {}", text) : "another process";
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const std::filesystem::path path = folder / ".lock";
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    fail("{}: must be a folder that can be written, but .lock cannot be opened: {}",
         folder.string(), std::strerror(errno));
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const std::string other = holder(descriptor_);
    close(descriptor_);
    fail(
        "{}: must be written by one process at a time, but {} is at work there; wait for it, stop "
        "it, or choose another folder",
        folder.string(), other);
  }
  const std::string own = std::to_string(getpid());
  // The number is only for the message above; a disk without room for it still gives a lock.
  if (ftruncate(descriptor_, 0) == 0 && pwrite(descriptor_, own.data(), own.size(), 0) < 0) return;
}

FolderLock::~FolderLock() {
  close(descriptor_);
}

}  // namespace zoetrope
