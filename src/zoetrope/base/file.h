// Whole-file reads and writes that say what went wrong, and writes that appear at once or not at
// all.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace zoetrope {

/// The file's bytes. Throws Error naming the path when it is missing, a folder, or cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Writes through a temporary name beside `path`, flushes it to disk and renames it, so that a
/// reader sees the old file or the whole new one. Throws Error naming the path and the cause (such
/// as a full disk); the temporary is gone.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Flushes a file's bytes or a folder's entries to disk, so that they outlive a power failure.
/// Throws Error with the cause.
void sync_to_disk(const std::filesystem::path& path);

/// `1.3 GiB`, `512 B`: for messages.
std::string format_bytes(uint64_t num_bytes);

/// Gives `path` its contents by streaming: write to `temporary()`, then `commit()`. Destruction
/// without commit removes the temporary.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }
  /// Flushes the temporary to disk and renames it. Throws Error with the cause.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

}  // namespace zoetrope
