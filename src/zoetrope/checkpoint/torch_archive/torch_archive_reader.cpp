#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/reader.h"
#include "zoetrope/checkpoint/torch_archive/storage_types.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

PickleGlobals archive_globals() {
  PickleGlobals names = {
      "torch._utils._rebuild_tensor_v2",
      "torch._utils._rebuild_tensor_v3",
      "torch._utils._rebuild_parameter",
      "torch.storage.UntypedStorage",
      "torch.Size",
      "torch.device",
      "collections.OrderedDict",
      "_codecs.encode",
      "__builtin__.set",
      "__builtin__.bytes",
      "builtins.set",
      "builtins.bytes",
      // NumPy's random state, which FastVideo saves; data here, like all others.
      "numpy.dtype",
      "numpy.ndarray",
      "numpy._core.multiarray._reconstruct",
      "numpy._core.multiarray.scalar",
      "numpy.core.multiarray._reconstruct",
      "numpy.core.multiarray.scalar",
  };
  for (std::string& name : storage_and_dtype_names()) names.insert(std::move(name));
  return names;
}

// The slice of a file that an archive fills.
std::string_view slice(const MappedFile& file, uint64_t offset, uint64_t num_bytes,
                       const std::string& where) {
  if (offset > file.size() || num_bytes > file.size() - offset)
    fail<CheckpointError>(
        "{}: must have bytes [{}, +{}), but the file has {}; it is truncated or damaged", where,
        offset, num_bytes, file.size());
  return {file.data() + offset, num_bytes};
}

std::string_view required(const ZipReader& records, const std::string& name,
                          const std::string& where) {
  const std::string_view* found = records.find(name);
  if (found == nullptr)
    fail<CheckpointError>("{}: the torch archive must have the record '{}', but has not", where,
                          name);
  return *found;
}

void check_byte_order(const ZipReader& records, const std::string& where) {
  const std::string_view* order = records.find("byteorder");
  if (order != nullptr && *order != "little")
    fail<CheckpointError>("{}: the numbers must be little-endian, but are '{}'", where, *order);
}

std::vector<int64_t> int_tuple(const PickleValue& value) {
  constexpr size_t kMostDimensions = 64;
  std::vector<int64_t> numbers;
  const PickleValue* tuple = &value;
  if (const auto* object = std::get_if<PickleObject>(&value.node().data);
      object != nullptr && object->type == "torch.Size" && object->arguments().size() == 1) {
    tuple = &object->arguments().front();
  }
  for (const PickleValue& element : tuple->as_elements()) {
    numbers.push_back(element.as_integer());
    if (numbers.back() < 0 || numbers.size() > kMostDimensions)
      fail<CheckpointError>("sizes and strides must be up to {} non-negative ints, but are not",
                            kMostDimensions);
  }
  return numbers;
}

// Elements of memory that a view needs; throws when that overflows.
int64_t num_elements_reached(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                             int64_t offset) {
  int64_t last = offset;
  int64_t num_elements = 1;
  bool overflow = offset < 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    int64_t reach = 0;
    overflow |= __builtin_mul_overflow(num_elements, sizes[i], &num_elements);
    overflow |= __builtin_mul_overflow(sizes[i] - 1, strides[i], &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  overflow |= __builtin_add_overflow(last, 1, &last);
  constexpr int64_t kMostElements = int64_t{1} << 58;  // bytes must fit into 64 bits
  if (overflow || num_elements > kMostElements)
    fail<CheckpointError>("the tensor's sizes, strides or offset are out of range");
  return last;
}

struct Memory {
  std::string_view bytes;
  std::optional<at::ScalarType> dtype;  // nothing: an untyped storage
};

Memory find_memory(const ZipReader& records, const PickleValue& value) {
  constexpr size_t kNumParts = 5;
  const auto* persistent = std::get_if<PicklePersistentId>(&value.node().data);
  if (persistent == nullptr)
    fail<CheckpointError>("a tensor's memory must be a persistent id, but is {}", value.describe());
  const auto& parts = persistent->id.as_elements();
  if (parts.size() != kNumParts || parts[0].as_string() != "storage")
    fail<CheckpointError>("a persistent id must name a storage by {} parts, but does not",
                          kNumParts);
  const std::string& type = parts[1].as_global();
  const std::string record = "data/" + parts[2].as_string();
  const std::string_view* found = records.find(record);
  if (found == nullptr) fail<CheckpointError>("must have the record '{}', but has not", record);
  Memory memory{*found, parse_storage_type(type)};
  if (!memory.dtype && type != "torch.storage.UntypedStorage")
    fail<CheckpointError>("a storage must be of a known class, but is {}", type);
  const int64_t num_elements = parts[4].as_integer();
  const auto element_bytes =
      memory.dtype ? static_cast<int64_t>(c10::elementSize(*memory.dtype)) : 1;
  if (num_elements < 0 || num_elements > static_cast<int64_t>(found->size()) / element_bytes)
    fail<CheckpointError>("storage '{}' must hold {} elements of {} bytes, but has {} bytes",
                          record, num_elements, element_bytes, found->size());
  return memory;
}

at::Tensor view_of(const Memory& memory, const std::shared_ptr<void>& owner, int64_t offset,
                   const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
  if (sizes.size() != strides.size())
    fail<CheckpointError>("sizes and strides must be as many, but are {} and {}", sizes.size(),
                          strides.size());
  const auto options = at::TensorOptions().dtype(*memory.dtype);
  const int64_t num_needed = num_elements_reached(sizes, strides, offset);
  if (num_needed == 0) return at::empty(sizes, options);
  const auto element_bytes = c10::elementSize(*memory.dtype);
  if (static_cast<uint64_t>(num_needed) > memory.bytes.size() / element_bytes)
    fail<CheckpointError>("a tensor of {} must lie within its memory of {} bytes, but needs {}",
                          format_shape(sizes), memory.bytes.size(),
                          static_cast<uint64_t>(num_needed) * element_bytes);
  char* begin =
      const_cast<char*>(memory.bytes.data()) + static_cast<uint64_t>(offset) * element_bytes;
  if (reinterpret_cast<uintptr_t>(begin) % element_bytes == 0)
    return at::from_blob(
        begin, sizes, strides, [owner](void*) {}, options);
  const int64_t num_copied = num_needed - offset;
  const at::Tensor copy = at::empty({num_copied}, options);
  std::memcpy(copy.data_ptr(), begin, static_cast<uint64_t>(num_copied) * element_bytes);
  return copy.as_strided(sizes, strides);
}

}  // namespace

TorchArchive::TorchArchive(const MappedFile& file, uint64_t offset, uint64_t num_bytes,
                           std::string where)
    : where_(std::move(where)),
      owner_(file.owner()),
      records_(slice(file, offset, num_bytes, where_), where_) {
  check_byte_order(records_, where_);
  value_ = read_pickle(required(records_, "data.pkl", where_), where_, archive_globals());
}

TorchArchive::TorchArchive(const std::filesystem::path& path)
    : TorchArchive(MappedFile(path), 0, std::filesystem::file_size(path), path.string()) {}

at::Tensor TorchArchive::tensor(const PickleValue& object) const {
  try {
    return rebuild(object);
  } catch (const CheckpointError& error) {
    fail<CheckpointError>("{}: {}", where_, error.what());
  }
}

at::Tensor TorchArchive::rebuild(const PickleValue& object) const {
  constexpr size_t kPlainArguments = 6;
  const PickleObject& described = object.as_object();
  const auto& arguments = described.arguments();
  if (described.type == "torch._utils._rebuild_parameter" && !arguments.empty())
    return rebuild(arguments.front());
  const bool typed = described.type == "torch._utils._rebuild_tensor_v3";
  if ((!typed && described.type != "torch._utils._rebuild_tensor_v2") ||
      arguments.size() < kPlainArguments + (typed ? 1 : 0)) {
    fail<CheckpointError>("must be a tensor, but is {}", object.describe());
  }
  Memory memory = find_memory(records_, arguments[0]);
  if (typed) memory.dtype = parse_torch_dtype(arguments[kPlainArguments].as_global());
  if (!memory.dtype) fail<CheckpointError>("a tensor must have a type that LibTorch knows");
  return view_of(memory, owner_, arguments[1].as_integer(), int_tuple(arguments[2]),
                 int_tuple(arguments[3]));
}

}  // namespace zoetrope
