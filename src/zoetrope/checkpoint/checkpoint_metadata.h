// A checkpoint's metadata.json: `step` and `config` as FastVideo's, and in `zoetrope` the version
// of the format and what only we need.
#pragma once

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "zoetrope/checkpoint/checkpoint_folder.h"

namespace zoetrope {

/// Raised when a checkpoint of an older version can no longer be read as it is.
inline constexpr int64_t kCheckpointFormatVersion = 1;

/// Reads the file. Throws CheckpointError when it is damaged, or when the checkpoint has another
/// format than this version reads. FastVideo's have no `zoetrope` section and no version.
nlohmann::json read_checkpoint_metadata(const CheckpointFolder& checkpoint);

}  // namespace zoetrope
