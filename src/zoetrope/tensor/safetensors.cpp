#include "zoetrope/tensor/safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>

#include <ATen/ATen.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/mapped_file.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kHeaderLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

MappedFile map_file(const fs::path& path) {
  if (fs::is_directory(path))
    fail<CheckpointError>("{}: must be a safetensors file, but is a folder", path.string());
  MappedFile file(path);
  if (file.size() < kHeaderLengthBytes)
    fail<CheckpointError>("{}: must hold at least the {} bytes of a header length, but has {}",
                          path.string(), kHeaderLengthBytes, file.size());
  return file;
}

json parse_header(const fs::path& path, const char* bytes, uint64_t file_size,
                  uint64_t& header_bytes) {
  std::memcpy(&header_bytes, bytes, sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > file_size - kHeaderLengthBytes) {
    fail<CheckpointError>(
        "{}: the header must fit into the file of {} bytes, but claims {} bytes; the file is "
        "truncated or not safetensors",
        path.string(), file_size, header_bytes);
  }
  const char* begin = bytes + kHeaderLengthBytes;
  json header = json::parse(begin, begin + header_bytes, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object())
    fail<CheckpointError>("{}: the header must be a JSON object, but is not", path.string());
  return header;
}

SafetensorsEntry parse_entry(const fs::path& path, const std::string& name, const json& value,
                             uint64_t data_bytes) {
  const auto bad = [&](const std::string& what) {
    fail<CheckpointError>("{}: tensor '{}': {}", path.string(), name, what);
  };
  if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
      !value.contains("shape") || !value["shape"].is_array() || !value.contains("data_offsets") ||
      !value["data_offsets"].is_array() || value["data_offsets"].size() != 2) {
    bad("must have dtype, shape and two data_offsets, but has not");
  }
  const auto dtype_text = value["dtype"].get<std::string>();
  const auto dtype = parse_safetensors_dtype(dtype_text);
  if (!dtype) bad("must have a type that LibTorch knows, but has '" + dtype_text + "'");
  SafetensorsEntry entry{*dtype, {}, 0, 0};
  const uint64_t element_bytes = c10::elementSize(*dtype);
  uint64_t num_elements = 1;
  for (const json& dim : value["shape"]) {
    if (!dim.is_number_unsigned())
      bad("its shape must be a list of non-negative integers, but is not");
    const auto size = dim.get<uint64_t>();
    constexpr uint64_t kMaxElements = uint64_t{1} << 56;  // bytes and strides must fit into int64
    if (size > kMaxElements || __builtin_mul_overflow(num_elements, size, &num_elements) ||
        num_elements > kMaxElements) {
      bad("its shape has too many elements");
    }
    entry.shape.push_back(static_cast<int64_t>(size));
  }
  for (const json& offset : value["data_offsets"]) {
    if (!offset.is_number_unsigned())
      bad("its data_offsets must be non-negative integers, but are not");
  }
  entry.begin = value["data_offsets"][0].get<uint64_t>();
  entry.end = value["data_offsets"][1].get<uint64_t>();
  if (entry.begin > entry.end || entry.end > data_bytes) {
    bad(fmt::format(
        "its bytes must lie within the {} bytes of data, but are [{}, {}); the file is truncated",
        data_bytes, entry.begin, entry.end));
  }
  if (entry.end - entry.begin != num_elements * element_bytes) {
    bad(fmt::format("{} of {} needs {} bytes, but the header gives {}", format_shape(entry.shape),
                    dtype_text, num_elements * element_bytes, entry.end - entry.begin));
  }
  return entry;
}

void check_no_overlap(const fs::path& path,
                      const std::map<std::string, SafetensorsEntry>& entries) {
  std::vector<std::pair<std::string, SafetensorsEntry>> by_offset(entries.begin(), entries.end());
  std::sort(by_offset.begin(), by_offset.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second.begin, a.second.end) < std::pair(b.second.begin, b.second.end);
  });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i].second.begin < by_offset[i - 1].second.end) {
      fail<CheckpointError>("{}: tensors '{}' and '{}' must not overlap, but do", path.string(),
                            by_offset[i - 1].first, by_offset[i].first);
    }
  }
}

uint64_t num_bytes_of(const PendingTensor& tensor) {
  return static_cast<uint64_t>(c10::multiply_integers(tensor.spec.shape)) *
         c10::elementSize(tensor.dtype);
}

std::vector<PendingTensor> pending(const NamedTensors& tensors) {
  std::vector<PendingTensor> result;
  for (const auto& [name, tensor] : tensors) {
    result.push_back(
        {{name, tensor.sizes().vec()}, tensor.scalar_type(), [tensor = tensor] { return tensor; }});
  }
  return result;
}

json header_of(const std::vector<PendingTensor>& tensors,
               const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const PendingTensor& tensor : tensors) {
    const uint64_t num_bytes = num_bytes_of(tensor);
    header[tensor.spec.name] = {{"dtype", safetensors_dtype_name(tensor.dtype)},
                                {"shape", tensor.spec.shape},
                                {"data_offsets", {offset, offset + num_bytes}}};
    offset += num_bytes;
  }
  return header;
}

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path)
      : path_(path),
        descriptor_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0)
      fail<CheckpointError>("{}: cannot be created: {}", path.string(), std::strerror(errno));
  }
  ~Descriptor() { close(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write_all(const void* bytes, uint64_t num_bytes) {
    const char* next = static_cast<const char*>(bytes);
    while (num_bytes > 0) {
      const ssize_t written = write(descriptor_, next, std::min<uint64_t>(num_bytes, 1U << 30));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        fail<CheckpointError>("{}: {} could not be written: {}", path_.string(),
                              format_bytes(num_bytes), std::strerror(errno));
      }
      next += written;
      num_bytes -= static_cast<uint64_t>(written);
    }
  }

 private:
  fs::path path_;
  int descriptor_;
};

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : path_(path) {
  const MappedFile mapped = map_file(path);
  map_ = mapped.owner();
  const char* bytes = mapped.data();
  uint64_t header_bytes = 0;
  const json header = parse_header(path, bytes, mapped.size(), header_bytes);
  data_ = bytes + kHeaderLengthBytes + header_bytes;
  const uint64_t data_bytes = mapped.size() - kHeaderLengthBytes - header_bytes;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, text] : value.items())
        metadata_[key] = text.is_string() ? text.get<std::string>() : text.dump();
    } else {
      entries_.emplace(name, parse_entry(path, name, value, data_bytes));
    }
  }
  check_no_overlap(path, entries_);
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    fail<CheckpointError>("{}: must hold tensor '{}', but does not", path_.string(), name);
  const SafetensorsEntry& entry = found->second;
  const char* address = data_ + entry.begin;
  const auto options = at::TensorOptions().dtype(entry.dtype);
  const uint64_t element_bytes = c10::elementSize(entry.dtype);
  // The format does not promise alignment; an unaligned tensor is copied.
  if (reinterpret_cast<uintptr_t>(address) % element_bytes != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.data_ptr(), address, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(
      const_cast<char*>(address), entry.shape, [map = map_](void*) {}, options);
}

namespace {

// The file itself, `<stem>.safetensors`, or the shards of `<stem>.safetensors.index.json`.
std::vector<fs::path> find_weight_files(const fs::path& folder) {
  if (fs::is_regular_file(folder)) return {folder};
  if (!fs::is_directory(folder)) {
    fail<CheckpointError>("{}: must be a folder with safetensors weights, but there is none",
                          folder.string());
  }
  for (const char* stem : {"diffusion_pytorch_model", "model"}) {
    const fs::path index = folder / fmt::format("{}.safetensors.index.json", stem);
    const fs::path single = folder / fmt::format("{}.safetensors", stem);
    if (fs::exists(single)) return {single};
    if (!fs::exists(index)) continue;
    const json parsed = json::parse(read_file(index), nullptr, false);
    if (!parsed.is_object() || !parsed.contains("weight_map") ||
        !parsed["weight_map"].is_object()) {
      fail<CheckpointError>("{}: must hold a weight_map, but does not", index.string());
    }
    std::set<fs::path> shards;
    for (const auto& [name, file] : parsed["weight_map"].items())
      shards.insert(folder / file.get<std::string>());
    return {shards.begin(), shards.end()};
  }
  fail<CheckpointError>(
      "{}: must hold diffusion_pytorch_model.safetensors or model.safetensors (or their index), "
      "but holds neither",
      folder.string());
}

}  // namespace

WeightFolder::WeightFolder(const fs::path& folder) : path_(folder) {
  for (const fs::path& path : find_weight_files(folder)) {
    files_.emplace_back(path);
    for (const auto& [name, entry] : files_.back().entries()) {
      if (!file_of_.emplace(name, files_.size() - 1).second) {
        fail<CheckpointError>("{}: tensor '{}' must be in one shard, but is also in another",
                              path.string(), name);
      }
    }
  }
}

std::vector<std::string> WeightFolder::names() const {
  std::vector<std::string> names;
  names.reserve(file_of_.size());
  for (const auto& [name, file] : file_of_) names.push_back(name);
  return names;
}

const SafetensorsEntry& WeightFolder::entry(const std::string& name) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end())
    fail<CheckpointError>("{}: must hold tensor '{}', but does not", path_.string(), name);
  return files_[found->second].entries().at(name);
}

at::Tensor WeightFolder::tensor(const std::string& name) const {
  entry(name);
  return files_[file_of_.at(name)].tensor(name);
}

NamedTensors WeightFolder::load_strict(const std::vector<TensorSpec>& specs,
                                       const std::vector<std::string>& ignored_names) const {
  std::vector<std::string> faults;
  std::map<std::string, bool> wanted;
  for (const TensorSpec& spec : specs) {
    wanted[spec.name] = true;
    if (!contains(spec.name)) {
      faults.push_back(fmt::format("missing '{}' {}", spec.name, format_shape(spec.shape)));
    } else if (entry(spec.name).shape != spec.shape) {
      faults.push_back(fmt::format("'{}' must have shape {}, but has {}", spec.name,
                                   format_shape(spec.shape), format_shape(entry(spec.name).shape)));
    }
  }
  for (const auto& [name, file] : file_of_) {
    const bool ignored =
        std::find(ignored_names.begin(), ignored_names.end(), name) != ignored_names.end();
    if (!wanted.contains(name) && !ignored) faults.push_back(fmt::format("unexpected '{}'", name));
  }
  if (!faults.empty()) {
    std::string text = fmt::format("{}: the weights must match config.json, but {} tensors do not:",
                                   path_.string(), faults.size());
    for (const std::string& fault : faults) text += "\n  " + fault;
    throw CheckpointError(text);
  }
  NamedTensors tensors;
  tensors.reserve(specs.size());
  for (const TensorSpec& spec : specs) tensors.emplace_back(spec.name, tensor(spec.name));
  return tensors;
}

namespace {

void write_file(const fs::path& path, const std::vector<PendingTensor>& tensors,
                const std::map<std::string, std::string>& metadata) {
  std::string header = header_of(tensors, metadata).dump();
  header.append((8 - header.size() % 8) % 8, ' ');
  AtomicFile file(path);
  {
    Descriptor output(file.temporary());
    const uint64_t header_bytes = header.size();
    output.write_all(&header_bytes, sizeof(header_bytes));
    output.write_all(header.data(), header.size());
    for (const PendingTensor& tensor : tensors) {
      const at::Tensor made = tensor.make().detach().to(at::kCPU, tensor.dtype).contiguous();
      if (made.sizes() != tensor.spec.shape) {
        fail<CheckpointError>("{}: tensor '{}' must have shape {}, but got {}", path.string(),
                              tensor.spec.name, format_shape(tensor.spec.shape),
                              format_shape(made.sizes()));
      }
      output.write_all(made.const_data_ptr(), made.nbytes());
    }
  }
  file.commit();
}

// In the order of `tensors`; a shard holds at least one.
std::vector<std::vector<PendingTensor>> split_into_shards(const std::vector<PendingTensor>& tensors,
                                                          uint64_t max_shard_bytes) {
  std::vector<std::vector<PendingTensor>> shards(1);
  uint64_t shard_bytes = 0;
  for (const PendingTensor& tensor : tensors) {
    const uint64_t num_bytes = num_bytes_of(tensor);
    if (!shards.back().empty() && shard_bytes + num_bytes > max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(tensor);
    shard_bytes += num_bytes;
  }
  return shards;
}

// Files of an earlier export under the same stem would be read instead of, or beside, the new ones.
void remove_weights(const fs::path& folder, const std::string& stem) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(stem) && name.find(".safetensors") != std::string::npos)
      fs::remove(entry.path());
  }
}

}  // namespace

void write_safetensors(const fs::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_file(path, pending(tensors), metadata);
}

void write_weight_folder(const fs::path& folder, const std::string& stem,
                         const std::vector<PendingTensor>& tensors, uint64_t max_shard_bytes) {
  fs::create_directories(folder);
  remove_weights(folder, stem);
  const auto shards = split_into_shards(tensors, max_shard_bytes);
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (shards.size() == 1) return write_file(folder / (stem + ".safetensors"), tensors, metadata);
  json weight_map = json::object();
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, shards.size());
    write_file(folder / name, shards[i], metadata);
    for (const PendingTensor& tensor : shards[i]) {
      weight_map[tensor.spec.name] = name;
      total_bytes += num_bytes_of(tensor);
    }
  }
  const json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  write_file_atomically(folder / (stem + ".safetensors.index.json"), index.dump(2));
}

void write_weight_folder(const fs::path& folder, const std::string& stem,
                         const NamedTensors& tensors, uint64_t max_shard_bytes) {
  write_weight_folder(folder, stem, pending(tensors), max_shard_bytes);
}

}  // namespace zoetrope
