// Reads the actions of one video from a file: JSON lines, CSV, NumPy or parquet. Knows no video.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "zoetrope/data/actions/frame_actions.h"

namespace zoetrope {

/// One row for each frame of the video, as
///   .jsonl     `{"keyboard": [0, 1], "mouse": [0.5, 0]}` in each line
///   .csv       columns `keyboard_0`, `keyboard_1`, ... and `mouse_0`, `mouse_1`
///   .npz       arrays `keyboard` [F, K] and `mouse` [F, 2]
///   .npy       the keyboard alone, or FastVideo's pickled dictionary of both
///   .parquet   columns `keyboard` and `mouse`, lists of numbers
/// of which keyboard or mouse may be missing. Throws DataError that names the file and every bad
/// row: another number of values than the first row's, or a value that is not finite.
FrameActions read_action_file(const std::filesystem::path& path);

/// The one file beside `video` that has its name and one of the endings above. Throws DataError
/// when there is none or more than one.
std::filesystem::path find_action_file(const std::filesystem::path& video);

}  // namespace zoetrope
