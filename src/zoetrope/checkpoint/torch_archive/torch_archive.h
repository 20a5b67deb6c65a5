// Reads and writes what torch.save writes: a zip archive with one pickled value and the memory of
// its tensors. Reading maps the file and copies nothing; writing streams from the tensors' memory.
// Source: torch/serialization.py of PyTorch 2.15.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "zoetrope/base/mapped_file.h"
#include "zoetrope/checkpoint/pickle/value.h"
#include "zoetrope/checkpoint/torch_archive/output_file.h"
#include "zoetrope/checkpoint/torch_archive/zip_reader.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

class TorchArchive {
 public:
  /// The archive in bytes [offset, offset + num_bytes) of `file`. `where` begins each message.
  /// Throws CheckpointError when the archive or its pickle is damaged, or when the pickle asks for
  /// more than tensors and plain Python values. CRCs are not checked, as PyTorch does not either:
  /// whole files have a checksum of their own.
  TorchArchive(const MappedFile& file, uint64_t offset, uint64_t num_bytes, std::string where);
  /// A whole file.
  explicit TorchArchive(const std::filesystem::path& path);

  /// What was saved. Tensors in it are objects for tensor().
  const PickleValue& value() const { return value_; }

  /// The tensor that `object` (value(), or a part of it) describes: a view into the file where the
  /// file's alignment allows it, else a copy. Any strides and offset. Throws CheckpointError when
  /// it is no tensor, or reaches beyond its memory.
  at::Tensor tensor(const PickleValue& object) const;
  /// The tensor that the archive is.
  at::Tensor tensor() const { return tensor(value_); }

 private:
  at::Tensor rebuild(const PickleValue& object) const;

  std::string where_;
  std::shared_ptr<void> owner_;
  ZipReader records_;
  PickleValue value_;
};

/// Appends torch.save(tensor): any device and strides; written contiguous and without gradient.
void write_torch_archive(OutputFile& out, const at::Tensor& tensor);

/// Appends torch.save of a dict of tensors, in their order; each is written as one alone is.
void write_torch_archive(OutputFile& out, const NamedTensors& tensors);

/// Appends torch.save(value), where `value` holds no tensors.
void write_torch_archive(OutputFile& out, const PickleValue& value);

}  // namespace zoetrope
