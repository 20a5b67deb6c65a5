// What says that a stage has been trained to its end, and whether its config still is the one that
// gave its results.
#pragma once

#include <filesystem>

#include "zoetrope/train/stages.h"

namespace zoetrope {

/// Whether the stage whose run folder is `folder` has left all its exports.
bool is_finished(const std::filesystem::path& folder);

/// Makes is_finished() true, and keeps the resolved config of `stage`.
void mark_finished(const Stage& stage, const std::filesystem::path& folder);

/// Throws ConfigError when the config of a finished stage has changed since in what its results
/// depend on. How it was run may change: the number and layout of its ranks and its device, memory
/// against time, trackers, checkpoints, and callbacks that only look at the run.
void check_unchanged(const Stage& stage, const std::filesystem::path& folder,
                     const config::TargetTable& callbacks);

}  // namespace zoetrope
