#include "zoetrope/base/file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  if (fs::is_directory(path)) fail("{}: must be a file, but is a folder", path.string());
  std::ifstream stream(path, std::ios::binary);
  if (!stream)
    fail("{}: must be a readable file, but cannot be opened: {}", path.string(),
         std::strerror(errno));
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  if (stream.bad())
    fail("{}: must be a readable file, but reading failed: {}", path.string(),
         std::strerror(errno));
  return std::move(bytes).str();
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), temporary_(path_) {
  temporary_ += fmt::format(".partial-{}", getpid());
}

AtomicFile::~AtomicFile() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void sync_to_disk(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail("{}: cannot be opened to flush it to disk: {}", path.string(), std::strerror(errno));
  const bool flushed = fsync(descriptor) == 0;
  const int flush_errno = errno;
  close(descriptor);
  if (!flushed)
    fail("{}: cannot be flushed to disk: {}", path.string(), std::strerror(flush_errno));
}

void AtomicFile::commit() {
  sync_to_disk(temporary_);
  std::error_code error;
  fs::rename(temporary_, path_, error);
  if (error) fail("{}: cannot be put in place: {}", path_.string(), error.message());
  committed_ = true;
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  std::ofstream stream(file.temporary(), std::ios::binary | std::ios::trunc);
  if (!stream) fail("{}: cannot be created: {}", path.string(), std::strerror(errno));
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream)
    fail("{}: {} could not be written: {}", path.string(), format_bytes(bytes.size()),
         std::strerror(errno));
  file.commit();
}

std::string format_bytes(uint64_t num_bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(num_bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", num_bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace zoetrope
