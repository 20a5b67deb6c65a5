#include "zoetrope/checkpoint/torch_archive/storage_types.h"

#include <array>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

struct Names {
  c10::ScalarType dtype;
  const char* dtype_name;
  const char* storage;  // null: an untyped storage, and the tensor says its type
};

constexpr std::array<Names, 13> kNames{{
    {c10::ScalarType::Float, "torch.float32", "torch.FloatStorage"},
    {c10::ScalarType::Double, "torch.float64", "torch.DoubleStorage"},
    {c10::ScalarType::Half, "torch.float16", "torch.HalfStorage"},
    {c10::ScalarType::BFloat16, "torch.bfloat16", "torch.BFloat16Storage"},
    {c10::ScalarType::Long, "torch.int64", "torch.LongStorage"},
    {c10::ScalarType::Int, "torch.int32", "torch.IntStorage"},
    {c10::ScalarType::Short, "torch.int16", "torch.ShortStorage"},
    {c10::ScalarType::Char, "torch.int8", "torch.CharStorage"},
    {c10::ScalarType::Byte, "torch.uint8", "torch.ByteStorage"},
    {c10::ScalarType::Bool, "torch.bool", "torch.BoolStorage"},
    {c10::ScalarType::UInt16, "torch.uint16", nullptr},
    {c10::ScalarType::UInt32, "torch.uint32", nullptr},
    {c10::ScalarType::UInt64, "torch.uint64", nullptr},
}};

}  // namespace

std::optional<c10::ScalarType> parse_storage_type(std::string_view name) {
  for (const Names& names : kNames) {
    if (names.storage != nullptr && name == names.storage) return names.dtype;
  }
  return std::nullopt;
}

std::optional<c10::ScalarType> parse_torch_dtype(std::string_view name) {
  for (const Names& names : kNames) {
    if (name == names.dtype_name) return names.dtype;
  }
  return std::nullopt;
}

std::optional<std::string> storage_type_name(c10::ScalarType dtype) {
  for (const Names& names : kNames) {
    if (names.dtype == dtype && names.storage != nullptr) return names.storage;
  }
  return std::nullopt;
}

std::string torch_dtype_name(c10::ScalarType dtype) {
  for (const Names& names : kNames) {
    if (names.dtype == dtype) return names.dtype_name;
  }
  fail<CheckpointError>("a checkpoint holds floating, integer and bool tensors, but got {}",
                        c10::toString(dtype));
}

std::vector<std::string> storage_and_dtype_names() {
  std::vector<std::string> all;
  for (const Names& names : kNames) {
    all.emplace_back(names.dtype_name);
    if (names.storage != nullptr) all.emplace_back(names.storage);
  }
  return all;
}

}  // namespace zoetrope
