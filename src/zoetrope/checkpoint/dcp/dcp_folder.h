// Reads checkpoints of torch.distributed.checkpoint (PyTorch's, FastVideo's, ours): what
// `.metadata` lists, and the tensors and values out of the mapped `.distcp` files, however many
// ranks wrote them. Source: torch/distributed/checkpoint/filesystem.py of PyTorch 2.15.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/base/mapped_file.h"
#include "zoetrope/checkpoint/dcp/dcp_item.h"
#include "zoetrope/tensor/tensor_shard.h"

namespace zoetrope {

/// A part of a tensor, or a value, in a file.
struct DcpChunk {
  DcpBox box;        ///< of a tensor
  std::string file;  ///< name in the folder
  uint64_t offset = 0;
  uint64_t num_bytes = 0;
};

/// What is stored under one key.
struct DcpEntry {
  DcpPath path;  ///< empty when the checkpoint does not say
  bool is_tensor = false;
  at::ScalarType dtype = at::kFloat;  ///< of a tensor
  std::vector<int64_t> shape;         ///< of a tensor
  std::vector<DcpChunk> chunks;       ///< one for a value
};

class DcpFolder {
 public:
  /// Reads `path`/.metadata and maps the files that it names. Throws CheckpointError when it is
  /// missing, damaged, asks for anything but data, or when a file is missing.
  explicit DcpFolder(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, DcpEntry>& entries() const { return entries_; }
  bool contains(const std::string& key) const { return entries_.contains(key); }
  /// Throws CheckpointError when there is no such key.
  const DcpEntry& entry(const std::string& key) const;

  /// The whole tensor, on the CPU: a view into the file when one chunk is all of it (do not write
  /// to it), else put together. Throws CheckpointError when it is missing, is no tensor, when its
  /// chunks overlap or leave something out, or when a file does not hold what `.metadata` says.
  at::Tensor read_tensor(const std::string& key) const;
  /// Copies the whole tensor into `destination` (any device), which must have its shape and type.
  void read_into(const std::string& key, const at::Tensor& destination) const;
  /// Copies what `shard` holds of the tensor into its values (any device and type), reading only
  /// the chunks that have some of it. Throws as read_tensor, and when the tensor is not of the
  /// shard's whole shape.
  void read_shard(const std::string& key, const TensorShard& shard) const;
  /// The Python value. Throws CheckpointError when it is missing, or is a tensor.
  PickleValue read_value(const std::string& key) const;

 private:
  const DcpEntry& tensor_entry(const std::string& key) const;
  at::Tensor read_chunk(const std::string& key, const DcpEntry& entry, const DcpChunk& chunk) const;

  std::filesystem::path path_;
  std::map<std::string, DcpEntry> entries_;
  std::map<std::string, MappedFile> files_;
};

}  // namespace zoetrope
