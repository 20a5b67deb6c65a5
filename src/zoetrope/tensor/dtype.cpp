#include "zoetrope/tensor/dtype.h"

#include <array>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

struct DtypeNames {
  c10::ScalarType dtype;
  const char* name;
  const char* torch_name;
  const char* safetensors_name;
};

constexpr std::array<DtypeNames, 10> kDtypes{{
    {c10::ScalarType::Float, "fp32", "float32", "F32"},
    {c10::ScalarType::BFloat16, "bf16", "bfloat16", "BF16"},
    {c10::ScalarType::Half, "fp16", "float16", "F16"},
    {c10::ScalarType::Double, "fp64", "float64", "F64"},
    {c10::ScalarType::Long, "int64", "int64", "I64"},
    {c10::ScalarType::Int, "int32", "int32", "I32"},
    {c10::ScalarType::Short, "int16", "int16", "I16"},
    {c10::ScalarType::Char, "int8", "int8", "I8"},
    {c10::ScalarType::Byte, "uint8", "uint8", "U8"},
    {c10::ScalarType::Bool, "bool", "bool", "BOOL"},
}};

}  // namespace

std::optional<c10::ScalarType> parse_dtype(std::string_view name) {
  for (const auto& entry : kDtypes) {
    if (name == entry.name || name == entry.torch_name) return entry.dtype;
  }
  return std::nullopt;
}

std::string dtype_name(c10::ScalarType dtype) {
  for (const auto& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.name;
  }
  return c10::toString(dtype);
}

std::optional<c10::ScalarType> parse_safetensors_dtype(std::string_view name) {
  for (const auto& entry : kDtypes) {
    if (name == entry.safetensors_name) return entry.dtype;
  }
  return std::nullopt;
}

std::string safetensors_dtype_name(c10::ScalarType dtype) {
  for (const auto& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.safetensors_name;
  }
  fail("safetensors: must hold a type that the format has, but got {}", c10::toString(dtype));
}

}  // namespace zoetrope
