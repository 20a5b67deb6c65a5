#include "zoetrope/checkpoint/dcp/dcp_writer.h"

#include <map>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/checkpoint/dcp/dcp_metadata.h"
#include "zoetrope/checkpoint/pickle/writer.h"
#include "zoetrope/checkpoint/torch_archive/storage_types.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

using PickleEntries = std::vector<std::pair<PickleValue, PickleValue>>;

DcpRecord record_of(const DcpItem& item) {
  DcpRecord record;
  record.key = item.key;
  record.path = item.path;
  if (item.key != dcp_key(item.path))
    fail<CheckpointError>(
        "checkpoint item '{}': the key must be its path joined by dots, but that "
        "is '{}'",
        item.key, dcp_key(item.path));
  const auto* tensor = std::get_if<at::Tensor>(&item.value);
  if (tensor == nullptr) return record;
  record.is_tensor = true;
  record.dtype = tensor->scalar_type();
  record.box = {item.offsets, tensor->sizes().vec()};
  record.shape = item.global_shape;
  if (item.global_shape.empty() && item.offsets.empty()) {
    record.shape = record.box.sizes;
    record.box.offsets.assign(record.shape.size(), 0);
  }
  return record;
}

PickleValue size_of(const std::vector<int64_t>& sizes) {
  return PickleValue::call("torch.Size", {PickleValue::int_tuple(sizes)});
}

// An object whose fields are in its dict.
PickleValue instance(const std::string& type, const std::vector<std::string>& names,
                     std::vector<PickleValue> values) {
  PickleEntries fields;
  for (size_t i = 0; i < names.size(); ++i)
    fields.emplace_back(PickleValue::string(names[i]), std::move(values[i]));
  return PickleValue::instance(type, PickleValue::dict(std::move(fields)));
}

std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& sizes) {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= std::max<int64_t>(sizes[d], 1);
  }
  return strides;
}

PickleValue properties_of(const DcpRecord& record) {
  const PickleValue layout =
      PickleValue::call("torch.serialization._get_layout", {PickleValue::string("torch.strided")});
  constexpr int64_t kContiguous = 0;
  const PickleValue memory_format =
      PickleValue::call(kDcpModule + "_MEM_FORMAT_ENCODING", {PickleValue::integer(kContiguous)});
  return PickleValue::instance(
      kDcpModule + "TensorProperties",
      PickleValue::tuple({PickleValue::global(torch_dtype_name(record.dtype)), layout,
                          PickleValue::boolean(false), memory_format, PickleValue::boolean(false),
                          PickleValue::int_tuple(contiguous_strides(record.box.sizes))}));
}

PickleValue chunk_of(const DcpBox& box) {
  return instance(kDcpModule + "ChunkStorageMetadata", {"offsets", "sizes"},
                  {size_of(box.offsets), size_of(box.sizes)});
}

// Everything under one key, in the order of the ranks.
struct KeyRecords {
  std::vector<const DcpRecord*> records;

  void add(const DcpRecord& record) {
    const bool fits =
        records.empty() ||
        (record.is_tensor && records.front()->is_tensor && record.dtype == records.front()->dtype &&
         record.shape == records.front()->shape && record.path == records.front()->path);
    if (!fits)
      fail<CheckpointError>(
          "key '{}' must be one value, or parts of one tensor, but comes with "
          "different values, types or shapes",
          record.key);
    records.push_back(&record);
  }

  PickleValue metadata() const {
    const DcpRecord& first = *records.front();
    if (!first.is_tensor) return PickleValue::instance(kDcpModule + "BytesStorageMetadata", {});
    std::vector<PickleValue> chunks;
    std::vector<DcpBox> boxes;
    for (const DcpRecord* record : records) {
      chunks.push_back(chunk_of(record->box));
      boxes.push_back(record->box);
    }
    try {
      check_boxes_cover(first.shape, boxes);
    } catch (const CheckpointError& error) {
      fail<CheckpointError>("key '{}': {}", first.key, error.what());
    }
    return instance(kDcpModule + "TensorStorageMetadata", {"properties", "size", "chunks"},
                    {properties_of(first), size_of(first.shape), PickleValue::list(chunks)});
  }
};

PickleValue path_tuple(const DcpPath& path) {
  std::vector<PickleValue> parts;
  for (const auto& part : path) {
    parts.push_back(std::holds_alternative<int64_t>(part)
                        ? PickleValue::integer(std::get<int64_t>(part))
                        : PickleValue::string(std::get<std::string>(part)));
  }
  return PickleValue::tuple(std::move(parts));
}

// The three tables of Metadata, filled rank by rank.
class MetadataTables {
 public:
  void add(const DcpFileIndex& file) {
    for (const DcpRecord& record : file.records) {
      const auto [entry, is_new] = keys_.try_emplace(record.key);
      if (is_new) order_.push_back(record.key);
      const auto chunk = static_cast<int64_t>(entry->second.records.size());
      entry->second.add(record);
      add_storage(file, record, chunk);
    }
  }

  PickleValue metadata() {
    PickleEntries state_dict;
    PickleEntries planner;
    for (const std::string& key : order_) {
      state_dict.emplace_back(PickleValue::string(key), keys_.at(key).metadata());
      planner.emplace_back(PickleValue::string(key),
                           path_tuple(keys_.at(key).records.front()->path));
    }
    const PickleValue storage_meta =
        instance(kDcpModule + "StorageMeta", {"checkpoint_id", "save_id", "load_id", "modules"},
                 {{}, {}, {}, PickleValue::list({})});
    return instance(
        kDcpModule + "Metadata",
        {"state_dict_metadata", "planner_data", "storage_data", "storage_meta", "version"},
        {PickleValue::dict(std::move(state_dict)), PickleValue::dict(std::move(planner)),
         PickleValue::dict(std::move(storage_)), storage_meta, PickleValue::string("1.0.0")});
  }

 private:
  void add_storage(const DcpFileIndex& file, const DcpRecord& record, int64_t chunk) {
    const PickleValue offset = record.is_tensor ? size_of(record.box.offsets) : PickleValue();
    const PickleValue index = record.is_tensor ? PickleValue::integer(chunk) : PickleValue();
    storage_.emplace_back(instance(kDcpModule + "MetadataIndex", {"fqn", "index", "offset"},
                                   {PickleValue::string(record.key), index, offset}),
                          instance("torch.distributed.checkpoint.filesystem._StorageInfo",
                                   {"relative_path", "offset", "length"},
                                   {PickleValue::string(file.file),
                                    PickleValue::integer(static_cast<int64_t>(record.offset)),
                                    PickleValue::integer(static_cast<int64_t>(record.num_bytes))}));
  }

  std::map<std::string, KeyRecords> keys_;
  std::vector<std::string> order_;
  PickleEntries storage_;
};

}  // namespace

DcpFileIndex write_dcp_file(const std::filesystem::path& folder, int64_t rank,
                            const std::vector<DcpItem>& items, WriteProgress progress) {
  // Archives align their tensors to their own beginning, so that this one aligns them in the file.
  constexpr uint64_t kAlignment = 64;
  DcpFileIndex index;
  index.file = fmt::format("__{}_0.distcp", rank);
  OutputFile out(folder / index.file, std::move(progress));
  for (const DcpItem& item : items) {
    out.pad_to(kAlignment);
    DcpRecord record = record_of(item);
    record.offset = out.offset();
    std::visit([&](const auto& value) { write_torch_archive(out, value); }, item.value);
    record.num_bytes = out.offset() - record.offset;
    index.records.push_back(std::move(record));
  }
  index.num_bytes = out.offset();
  index.checksum = out.finish();
  return index;
}

void write_dcp_metadata(const std::filesystem::path& folder,
                        const std::vector<DcpFileIndex>& ranks) {
  const std::filesystem::path path = folder / ".metadata";
  try {
    MetadataTables tables;
    for (const DcpFileIndex& rank : ranks) tables.add(rank);
    write_file_atomically(path, write_pickle(tables.metadata()));
  } catch (const Error& error) {
    fail<CheckpointError>("{}: {}", path.string(), error.what());
  }
}

}  // namespace zoetrope
