// Writes checkpoints that torch.distributed.checkpoint reads: each rank its file
// `__<rank>_0.distcp`, then one rank the `.metadata` that says what is where. Knows no model and no
// other rank. Source: torch/distributed/checkpoint/filesystem.py of PyTorch 2.15.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "zoetrope/checkpoint/dcp/dcp_item.h"
#include "zoetrope/checkpoint/torch_archive/output_file.h"

namespace zoetrope {

/// Where one item went.
struct DcpRecord {
  std::string key;
  DcpPath path;
  bool is_tensor = false;
  // Of tensors.
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;  ///< of the whole tensor
  DcpBox box;                  ///< the part that was written
  uint64_t offset = 0;         ///< in the file
  uint64_t num_bytes = 0;
};

/// What one rank wrote.
struct DcpFileIndex {
  std::string file;  ///< name in the folder
  uint64_t num_bytes = 0;
  std::string checksum;  ///< as file_checksum() gives it
  std::vector<DcpRecord> records;
};

/// Writes `items` to `folder`/__<rank>_0.distcp and flushes it to the disk. The memory beyond the
/// items is a few MB; tensors of another device or strides are copied one at a time. Throws
/// CheckpointError, with the path and the cause when writing fails; the file is then incomplete.
DcpFileIndex write_dcp_file(const std::filesystem::path& folder, int64_t rank,
                            const std::vector<DcpItem>& items, WriteProgress progress = {});

/// Writes `folder`/.metadata for the files of all ranks, at once or not at all. Throws
/// CheckpointError when a key is there twice, or when the parts of a tensor do not cover it.
void write_dcp_metadata(const std::filesystem::path& folder,
                        const std::vector<DcpFileIndex>& ranks);

}  // namespace zoetrope
