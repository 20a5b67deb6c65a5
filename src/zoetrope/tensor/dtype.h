// Names of element types: ours (fp32, bf16, fp16), PyTorch's (float32, ...) and safetensors' (F32,
// ...).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <c10/core/ScalarType.h>

namespace zoetrope {

/// `fp32`, `float32`, `bf16`, `bfloat16`, `fp16`, `float16`; nothing for any other name.
std::optional<c10::ScalarType> parse_dtype(std::string_view name);

/// `fp32`, `bf16`, `fp16`, `int64`, ...
std::string dtype_name(c10::ScalarType dtype);

/// The type of a safetensors header entry such as `BF16`; nothing for types that LibTorch lacks.
std::optional<c10::ScalarType> parse_safetensors_dtype(std::string_view name);

/// The safetensors name of `dtype`. Throws Error for types that the format lacks.
std::string safetensors_dtype_name(c10::ScalarType dtype);

}  // namespace zoetrope
