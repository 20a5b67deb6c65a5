// A whole file in memory without reading it: pages come from the disk when they are touched.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

namespace zoetrope {

/// The bytes of a file, for as long as this (or a copy) lives. They may be written to, which
/// changes this map alone and never the file: LibTorch has no read-only tensors.
class MappedFile {
 public:
  /// Throws CheckpointError naming the path when it is missing, a folder, or cannot be mapped.
  explicit MappedFile(const std::filesystem::path& path);

  const char* data() const { return static_cast<const char*>(map_.get()); }
  uint64_t size() const { return size_; }
  /// What keeps the bytes alive.
  const std::shared_ptr<void>& owner() const { return map_; }

 private:
  std::shared_ptr<void> map_;
  uint64_t size_ = 0;
};

}  // namespace zoetrope
