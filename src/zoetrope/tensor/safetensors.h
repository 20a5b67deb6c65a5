// Reading safetensors by memory map and writing them; the format's rules are checked before a byte
// is used. Source: the safetensors format (8-byte little-endian header length, JSON header, data).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

/// One entry of a header.
struct SafetensorsEntry {
  c10::ScalarType dtype;
  std::vector<int64_t> shape;
  uint64_t begin;  ///< byte offset in the data section
  uint64_t end;
};

/// One memory-mapped file. Tensors are views into the map, which lives as long as any of them.
class SafetensorsFile {
 public:
  /// Maps `path` and checks its header: length, JSON, types, shapes against byte ranges, overlaps,
  /// file size. Throws CheckpointError that names the file and what is wrong.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The tensor `name` in its stored type, on the CPU, sharing the map (do not write to it).
  /// Throws CheckpointError when there is none.
  at::Tensor tensor(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<void> map_;
  const char* data_ = nullptr;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// The weights of one Diffusers component folder: `<stem>.safetensors`, or the shards that
/// `<stem>.safetensors.index.json` lists; any of the stems `diffusion_pytorch_model`, `model`. A
/// single file works too.
class WeightFolder {
 public:
  /// Throws CheckpointError when the folder or a shard is missing, or when a tensor is in no shard
  /// or in two.
  explicit WeightFolder(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return file_of_.contains(name); }
  const SafetensorsEntry& entry(const std::string& name) const;
  at::Tensor tensor(const std::string& name) const;

  /// Tensors for `specs`, in their order. Throws CheckpointError that lists every missing and every
  /// unexpected name and every wrong shape at once. `ignored_names` may be in the folder without
  /// being wanted.
  NamedTensors load_strict(const std::vector<TensorSpec>& specs,
                           const std::vector<std::string>& ignored_names = {}) const;

 private:
  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> file_of_;
};

/// A tensor that is made when its turn to be written comes, so that a file may be larger than
/// memory.
struct PendingTensor {
  TensorSpec spec;
  c10::ScalarType dtype;
  std::function<at::Tensor()> make;  ///< of that shape and type, on any device
};

/// Writes `tensors` (any device, made contiguous one at a time) to `path`, atomically.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// Writes a Diffusers component's weights: one file, or shards of at most `max_shard_bytes` with an
/// index. Weights of an earlier export in the folder are removed.
void write_weight_folder(const std::filesystem::path& folder, const std::string& stem,
                         const std::vector<PendingTensor>& tensors,
                         uint64_t max_shard_bytes = 10'000'000'000);
void write_weight_folder(const std::filesystem::path& folder, const std::string& stem,
                         const NamedTensors& tensors, uint64_t max_shard_bytes = 10'000'000'000);

}  // namespace zoetrope
