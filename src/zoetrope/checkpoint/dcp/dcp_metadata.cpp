#include "zoetrope/checkpoint/dcp/dcp_metadata.h"

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/reader.h"
#include "zoetrope/checkpoint/torch_archive/storage_types.h"

namespace zoetrope {
namespace {

using Entries = std::map<std::string, DcpEntry>;

PickleGlobals metadata_globals() {
  PickleGlobals names = {
      kDcpModule + "Metadata",
      kDcpModule + "TensorStorageMetadata",
      kDcpModule + "BytesStorageMetadata",
      kDcpModule + "ChunkStorageMetadata",
      kDcpModule + "TensorProperties",
      kDcpModule + "_MEM_FORMAT_ENCODING",
      kDcpModule + "MetadataIndex",
      kDcpModule + "StorageMeta",
      "torch.distributed.checkpoint.filesystem._StorageInfo",
      "torch.Size",
      "torch.serialization._get_layout",
      "collections.OrderedDict",
      "pathlib.PosixPath",
      "pathlib.PurePosixPath",
      "pathlib.WindowsPath",
  };
  for (std::string& name : storage_and_dtype_names()) names.insert(std::move(name));
  return names;
}

std::vector<int64_t> sizes_of(const PickleValue& size) {
  const auto& arguments = size.as_object_of("torch.Size").arguments();
  if (arguments.size() != 1)
    fail<CheckpointError>("a torch.Size must hold one tuple, but does not");
  constexpr size_t kMostDimensions = 64;
  std::vector<int64_t> sizes;
  for (const PickleValue& element : arguments.front().as_elements()) {
    sizes.push_back(element.as_integer());
    if (sizes.back() < 0 || sizes.size() > kMostDimensions)
      fail<CheckpointError>("a torch.Size must hold up to {} non-negative ints, but does not",
                            kMostDimensions);
  }
  return sizes;
}

// What says where a chunk is: its key, and for tensors its offsets.
using Location = std::pair<std::string, std::vector<int64_t>>;

DcpEntry parse_entry(const PickleValue& value) {
  DcpEntry entry;
  const PickleObject& object = value.as_object();
  if (object.type == kDcpModule + "BytesStorageMetadata") {
    entry.chunks.emplace_back();
    return entry;
  }
  const PickleValue& state = value.as_object_of(kDcpModule + "TensorStorageMetadata").state;
  entry.is_tensor = true;
  const auto& properties =
      state.at("properties").as_object_of(kDcpModule + "TensorProperties").state.as_elements();
  if (properties.empty()) fail<CheckpointError>("tensor properties must begin with a type");
  const auto dtype = parse_torch_dtype(properties.front().as_global());
  if (!dtype)
    fail<CheckpointError>("a tensor must have a type that LibTorch knows, but has {}",
                          properties.front().as_global());
  entry.dtype = *dtype;
  entry.shape = sizes_of(state.at("size"));
  for (const PickleValue& chunk : state.at("chunks").as_elements()) {
    const PickleValue& fields = chunk.as_object_of(kDcpModule + "ChunkStorageMetadata").state;
    DcpChunk parsed;
    parsed.box = {sizes_of(fields.at("offsets")), sizes_of(fields.at("sizes"))};
    entry.chunks.push_back(std::move(parsed));
  }
  return entry;
}

Entries parse_entries(const PickleValue& state_dict) {
  Entries entries;
  for (const auto& [key, value] : state_dict.as_entries()) {
    const std::string& name = key.as_string();
    try {
      if (!entries.emplace(name, parse_entry(value)).second) fail<CheckpointError>("comes twice");
    } catch (const CheckpointError& error) {
      fail<CheckpointError>("key '{}': {}", name, error.what());
    }
  }
  return entries;
}

Location location_of(const PickleValue& index) {
  const PickleValue& fields = index.as_object_of(kDcpModule + "MetadataIndex").state;
  const PickleValue* offset = fields.find("offset");
  Location location{fields.at("fqn").as_string(), {}};
  if (offset != nullptr && !offset->is_none()) location.second = sizes_of(*offset);
  return location;
}

uint64_t unsigned_of(const PickleValue& value) {
  const int64_t number = value.as_integer();
  if (number < 0)
    fail<CheckpointError>("a place in a file must not be negative, but is {}", number);
  return static_cast<uint64_t>(number);
}

DcpChunk storage_of(const PickleValue& info) {
  const PickleValue& fields =
      info.as_object_of("torch.distributed.checkpoint.filesystem._StorageInfo").state;
  const PickleValue* transforms = fields.find("transform_descriptors");
  if (transforms != nullptr && !transforms->is_none() && !transforms->as_elements().empty())
    fail<CheckpointError>("items must be stored as they are, but have transforms (extensions)");
  DcpChunk chunk;
  chunk.file = fields.at("relative_path").as_string();
  if (chunk.file.empty() || chunk.file.find('/') != std::string::npos || chunk.file == ".." ||
      chunk.file.find('\0') != std::string::npos) {
    fail<CheckpointError>("a data file must lie in the folder itself, but is '{}'", chunk.file);
  }
  chunk.offset = unsigned_of(fields.at("offset"));
  chunk.num_bytes = unsigned_of(fields.at("length"));
  return chunk;
}

void place_chunks(Entries& entries, const PickleValue& storage_data) {
  std::map<Location, DcpChunk> places;
  for (const auto& [index, info] : storage_data.as_entries())
    places[location_of(index)] = storage_of(info);
  for (auto& [key, entry] : entries) {
    for (DcpChunk& chunk : entry.chunks) {
      const auto place = places.find({key, chunk.box.offsets});
      // Chunks without elements may share a place, and nobody reads them.
      const bool is_empty =
          std::find(chunk.box.sizes.begin(), chunk.box.sizes.end(), 0) != chunk.box.sizes.end();
      if (place == places.end() && is_empty) continue;
      if (place == places.end())
        fail<CheckpointError>("key '{}': storage_data must say where it is, but does not", key);
      chunk.file = place->second.file;
      chunk.offset = place->second.offset;
      chunk.num_bytes = place->second.num_bytes;
    }
  }
}

void place_paths(Entries& entries, const PickleValue* planner_data) {
  if (planner_data == nullptr || planner_data->is_none()) return;
  for (const auto& [key, path] : planner_data->as_entries()) {
    const auto entry = entries.find(key.as_string());
    if (entry == entries.end()) continue;
    entry->second.path.clear();
    for (const PickleValue& part : path.as_elements()) {
      if (std::holds_alternative<int64_t>(part.node().data))
        entry->second.path.emplace_back(part.as_integer());
      else
        entry->second.path.emplace_back(part.as_string());
    }
  }
}

}  // namespace

std::map<std::string, DcpEntry> parse_dcp_metadata(std::string_view bytes,
                                                   const std::string& where) {
  const PickleValue metadata = read_pickle(bytes, where, metadata_globals());
  try {
    const PickleValue& state = metadata.as_object_of(kDcpModule + "Metadata").state;
    Entries entries = parse_entries(state.at("state_dict_metadata"));
    place_chunks(entries, state.at("storage_data"));
    place_paths(entries, state.find("planner_data"));
    return entries;
  } catch (const CheckpointError& error) {
    fail<CheckpointError>("{}: {}", where, error.what());
  }
}

}  // namespace zoetrope
