// A file that is written from front to back, with the checksum of what was written, so that nobody
// has to read it again to know that it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "zoetrope/checkpoint/dcp/file_checksum.h"

namespace zoetrope {

/// Called with the number of bytes that have just been written; may throw to stop the writing.
using WriteProgress = std::function<void(uint64_t num_bytes)>;

class OutputFile {
 public:
  /// Creates or truncates `path`. Every fault of this class is a CheckpointError with the path and
  /// the cause (such as a full disk).
  explicit OutputFile(std::filesystem::path path, WriteProgress progress = {});
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Bytes written so far.
  uint64_t offset() const { return offset_; }
  void write(const void* bytes, uint64_t num_bytes);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  /// Zeros up to the next multiple of `alignment`.
  void pad_to(uint64_t alignment);
  /// Flushes everything to the disk and closes the file. Returns the checksum of the whole file.
  std::string finish();

 private:
  void flush();
  void write_through(const char* bytes, uint64_t num_bytes);
  [[noreturn]] void fail_write(const char* what) const;

  std::filesystem::path path_;
  WriteProgress progress_;
  Checksum checksum_;
  int descriptor_ = -1;
  uint64_t offset_ = 0;
  uint64_t num_submitted_ = 0;  ///< bytes that the disk was told to start with
  std::vector<char> buffer_;    ///< small writes, joined
};

}  // namespace zoetrope
