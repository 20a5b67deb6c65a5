// What `zoetrope inspect` says about a checkpoint folder.
#pragma once

#include <filesystem>

namespace zoetrope {

/// Whether `path` is a folder `checkpoint-<step>`.
bool is_checkpoint(const std::filesystem::path& path);

/// Prints step, writer, and what each part holds. Throws CheckpointError that lists every fault
/// after reading every byte.
void inspect_checkpoint(const std::filesystem::path& path, bool tensors);

}  // namespace zoetrope
