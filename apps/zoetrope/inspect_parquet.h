// `zoetrope inspect` of parquet files: which schema, how many rows, which shapes, what is wrong.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace zoetrope {

/// `path` itself or the first parquet file below it; nothing when there is none.
std::optional<std::filesystem::path> find_parquet_file(const std::filesystem::path& path);

/// Prints what the set at `path` holds; reads `max_rows` rows of it. Throws DataError when rows are
/// faulty, after it listed them.
void inspect_parquet(const std::filesystem::path& path, int64_t max_rows);

}  // namespace zoetrope
