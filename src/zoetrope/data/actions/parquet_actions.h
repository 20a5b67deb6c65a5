// Actions out of a parquet file whose columns are lists of numbers, one row for each frame.
#pragma once

#include <filesystem>
#include <vector>

namespace zoetrope {

/// What a file of actions says, unchecked: one list of values for each frame. Empty where the file
/// has none.
struct ActionValues {
  std::vector<std::vector<double>> keyboard;
  std::vector<std::vector<double>> mouse;
};

/// The columns `keyboard` and `mouse`. Throws DataError naming the file when it cannot be read or
/// when one of them is no list of numbers.
ActionValues read_parquet_actions(const std::filesystem::path& path);

}  // namespace zoetrope
