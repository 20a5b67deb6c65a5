#include "zoetrope/base/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail<CheckpointError>("{}: must be a readable file, but cannot be opened: {}", path.string(),
                          std::strerror(errno));
  struct stat status {};
  const bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  size_ = regular ? static_cast<uint64_t>(status.st_size) : 0;
  void* address = MAP_FAILED;
  if (size_ > 0) {
    address =
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
  }
  const int map_errno = errno;
  close(descriptor);
  if (!regular) fail<CheckpointError>("{}: must be a file, but is not", path.string());
  if (size_ == 0) return;
  if (address == MAP_FAILED)
    fail<CheckpointError>("{}: cannot be mapped: {}", path.string(), std::strerror(map_errno));
  map_ = std::shared_ptr<void>(address, [size = size_](void* mapped) { munmap(mapped, size); });
}

}  // namespace zoetrope
