#include "zoetrope/checkpoint/dcp/dcp_folder.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/nearest.h"
#include "zoetrope/checkpoint/dcp/dcp_metadata.h"
#include "zoetrope/checkpoint/dcp/flat_range.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

void check_cover(const DcpEntry& entry, const std::string& where) {
  std::vector<DcpBox> boxes;
  boxes.reserve(entry.chunks.size());
  for (const DcpChunk& chunk : entry.chunks) boxes.push_back(chunk.box);
  try {
    check_boxes_cover(entry.shape, boxes);
  } catch (const CheckpointError& error) {
    fail<CheckpointError>("{}: {}", where, error.what());
  }
}

// The part of `whole` that a chunk fills.
at::Tensor part_of(at::Tensor whole, const DcpBox& box) {
  for (size_t d = 0; d < box.sizes.size(); ++d)
    whole = whole.narrow(static_cast<int64_t>(d), box.offsets[d], box.sizes[d]);
  return whole;
}

bool is_empty(const DcpBox& box) {
  return std::find(box.sizes.begin(), box.sizes.end(), 0) != box.sizes.end();
}

// Of sizes 0 where the boxes have nothing in common.
DcpBox intersection(const DcpBox& a, const DcpBox& b) {
  DcpBox common;
  for (size_t d = 0; d < a.sizes.size(); ++d) {
    const int64_t begin = std::max(a.offsets[d], b.offsets[d]);
    const int64_t end = std::min(a.offsets[d] + a.sizes[d], b.offsets[d] + b.sizes[d]);
    common.offsets.push_back(begin);
    common.sizes.push_back(std::max<int64_t>(end - begin, 0));
  }
  return common;
}

DcpBox relative_to(DcpBox box, const DcpBox& origin) {
  for (size_t d = 0; d < box.offsets.size(); ++d) box.offsets[d] -= origin.offsets[d];
  return box;
}

}  // namespace

DcpFolder::DcpFolder(const std::filesystem::path& path) : path_(path) {
  const std::filesystem::path metadata = path / ".metadata";
  const MappedFile bytes(metadata);
  entries_ = parse_dcp_metadata({bytes.data(), bytes.size()}, metadata.string());
  for (const auto& [key, entry] : entries_) {
    for (const DcpChunk& chunk : entry.chunks) {
      if (!chunk.file.empty() && !files_.contains(chunk.file))
        files_.emplace(chunk.file, MappedFile(path / chunk.file));
    }
  }
}

const DcpEntry& DcpFolder::entry(const std::string& key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end()) {
    std::vector<std::string> keys;
    for (const auto& [name, entry] : entries_) keys.push_back(name);
    fail<CheckpointError>("{}: must hold '{}', but does not{}", path_.string(), key,
                          did_you_mean(key, keys));
  }
  return found->second;
}

const DcpEntry& DcpFolder::tensor_entry(const std::string& key) const {
  const DcpEntry& found = entry(key);
  if (!found.is_tensor)
    fail<CheckpointError>("{}: '{}' must be a tensor, but is another value", path_.string(), key);
  check_cover(found, fmt::format("{}: '{}'", path_.string(), key));
  return found;
}

at::Tensor DcpFolder::read_chunk(const std::string& key, const DcpEntry& entry,
                                 const DcpChunk& chunk) const {
  const std::string where = fmt::format("{}: '{}'", (path_ / chunk.file).string(), key);
  const TorchArchive archive(files_.at(chunk.file), chunk.offset, chunk.num_bytes, where);
  at::Tensor tensor = archive.tensor();
  if (tensor.scalar_type() != entry.dtype || tensor.sizes() != chunk.box.sizes) {
    fail<CheckpointError>("{}: must be {} {} as .metadata says, but is {} {}", where,
                          dtype_name(entry.dtype), format_shape(chunk.box.sizes),
                          dtype_name(tensor.scalar_type()), format_shape(tensor.sizes()));
  }
  if (tensor.nbytes() > chunk.num_bytes)
    fail<CheckpointError>("{}: {} bytes must lie in the file, but only {} do", where,
                          tensor.nbytes(), chunk.num_bytes);
  return tensor;
}

at::Tensor DcpFolder::read_tensor(const std::string& key) const {
  const DcpEntry& found = tensor_entry(key);
  const DcpChunk* only = nullptr;
  for (const DcpChunk& chunk : found.chunks) {
    if (chunk.box.sizes == found.shape && !chunk.file.empty()) only = &chunk;
  }
  if (only != nullptr) return read_chunk(key, found, *only);
  // Read before anything is allocated: the file shows that the sizes are meant.
  std::vector<std::pair<const DcpBox*, at::Tensor>> parts;
  for (const DcpChunk& chunk : found.chunks) {
    if (!is_empty(chunk.box)) parts.emplace_back(&chunk.box, read_chunk(key, found, chunk));
  }
  at::Tensor whole = at::empty(found.shape, at::TensorOptions().dtype(found.dtype));
  for (const auto& [box, part] : parts) part_of(whole, *box).copy_(part);
  return whole;
}

void DcpFolder::read_into(const std::string& key, const at::Tensor& destination) const {
  const DcpEntry& found = tensor_entry(key);
  if (destination.sizes() != found.shape || destination.scalar_type() != found.dtype) {
    fail<CheckpointError>("{}: '{}' must be {} {}, but is {} {}", path_.string(), key,
                          dtype_name(destination.scalar_type()), format_shape(destination.sizes()),
                          dtype_name(found.dtype), format_shape(found.shape));
  }
  const at::Tensor target = destination.detach();
  for (const DcpChunk& chunk : found.chunks) {
    if (!is_empty(chunk.box)) part_of(target, chunk.box).copy_(read_chunk(key, found, chunk));
  }
}

void DcpFolder::read_shard(const std::string& key, const TensorShard& shard) const {
  const DcpEntry& found = tensor_entry(key);
  if (found.shape != shard.whole_shape()) {
    fail<CheckpointError>("{}: '{}' must have shape {}, but has {}", path_.string(), key,
                          format_shape(shard.whole_shape()), format_shape(found.shape));
  }
  int64_t position = 0;
  for (const DcpBox& box : boxes_of_shard(shard)) {
    const int64_t count = c10::multiply_integers(box.sizes);
    const at::Tensor target = shard.values.detach().narrow(0, position, count).view(box.sizes);
    for (const DcpChunk& chunk : found.chunks) {
      const DcpBox common = intersection(box, chunk.box);
      if (is_empty(common)) continue;
      part_of(target, relative_to(common, box))
          .copy_(part_of(read_chunk(key, found, chunk), relative_to(common, chunk.box)));
    }
    position += count;
  }
}

PickleValue DcpFolder::read_value(const std::string& key) const {
  const DcpEntry& found = entry(key);
  if (found.is_tensor)
    fail<CheckpointError>("{}: '{}' must be a value, but is a tensor", path_.string(), key);
  const DcpChunk& chunk = found.chunks.front();
  return TorchArchive(files_.at(chunk.file), chunk.offset, chunk.num_bytes,
                      fmt::format("{}: '{}'", (path_ / chunk.file).string(), key))
      .value();
}

}  // namespace zoetrope
