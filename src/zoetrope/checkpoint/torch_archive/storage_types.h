// PyTorch's names of element types and of the storage classes that hold them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>

namespace zoetrope {

/// `torch.FloatStorage` -> float; nothing for any other name.
std::optional<c10::ScalarType> parse_storage_type(std::string_view name);
/// `torch.float32` -> float; nothing for any other name.
std::optional<c10::ScalarType> parse_torch_dtype(std::string_view name);

/// The name of the storage class; nothing for the types that have none (uint16, uint32, uint64).
std::optional<std::string> storage_type_name(c10::ScalarType dtype);
/// `torch.float32`. Throws CheckpointError for types that a checkpoint cannot hold.
std::string torch_dtype_name(c10::ScalarType dtype);

/// Every name of both kinds.
std::vector<std::string> storage_and_dtype_names();

}  // namespace zoetrope
