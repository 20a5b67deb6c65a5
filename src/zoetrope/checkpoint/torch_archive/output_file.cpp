#include "zoetrope/checkpoint/torch_archive/output_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr uint64_t kBufferBytes = 1U << 20U;
constexpr uint64_t kBlockBytes = 1U << 20U;  // stays in the cache between hash and write
constexpr uint64_t kSubmitBytes = 32U << 20U;

}  // namespace

OutputFile::OutputFile(std::filesystem::path path, WriteProgress progress)
    : path_(std::move(path)),
      progress_(std::move(progress)),
      descriptor_(open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) fail_write("cannot be created");
  buffer_.reserve(kBufferBytes);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void OutputFile::write(const void* bytes, uint64_t num_bytes) {
  offset_ += num_bytes;
  const char* next = static_cast<const char*>(bytes);
  if (buffer_.size() + num_bytes <= kBufferBytes) {
    buffer_.insert(buffer_.end(), next, next + num_bytes);
    return;
  }
  flush();
  write_through(next, num_bytes);
}

void OutputFile::pad_to(uint64_t alignment) {
  const std::string zeros((alignment - offset_ % alignment) % alignment, '\0');
  write(zeros);
}

std::string OutputFile::finish() {
  flush();
  if (fsync(descriptor_) != 0) fail_write("could not be flushed to the disk");
  const int closed = close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail_write("could not be closed");
  return checksum_.digits();
}

void OutputFile::flush() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void OutputFile::write_through(const char* bytes, uint64_t num_bytes) {
  while (num_bytes > 0) {
    const uint64_t block = std::min(num_bytes, kBlockBytes);
    const ssize_t written = ::write(descriptor_, bytes, block);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_write("could not be written");
    const auto count = static_cast<uint64_t>(written);
    checksum_.add(bytes, count);
    bytes += count;
    num_bytes -= count;
    if (progress_) progress_(count);
  }
  // The disk works while the next bytes are made, instead of all at the end.
  const uint64_t num_written = offset_ - num_bytes;
  if (num_written >= num_submitted_ + kSubmitBytes) {
    sync_file_range(descriptor_, static_cast<off64_t>(num_submitted_),
                    static_cast<off64_t>(num_written - num_submitted_), SYNC_FILE_RANGE_WRITE);
    num_submitted_ = num_written;
  }
}

void OutputFile::fail_write(const char* what) const {
  fail<CheckpointError>("{}: {} at byte {}: {}", path_.string(), what, offset_,
                        std::strerror(errno));
}

}  // namespace zoetrope
