// Checksums of whole files. Source: XXH3 with 128 bits (xxHash), printed as `xxhsum -H2` does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace zoetrope {

/// The checksum of bytes that come in pieces.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void add(const void* bytes, uint64_t num_bytes);
  /// 32 hexadecimal digits.
  std::string digits() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The checksum of the file's bytes, all of which are read. Throws CheckpointError when it cannot
/// be read.
std::string file_checksum(const std::filesystem::path& path);

}  // namespace zoetrope
