#include "zoetrope/inspect_checkpoint.h"

#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

struct PartTotals {
  int64_t num_tensors = 0;
  int64_t num_elements = 0;
  uint64_t num_bytes = 0;
  std::map<std::string, int64_t> dtypes;
  int64_t num_values = 0;

  void add(const DcpEntry& entry) {
    if (!entry.is_tensor) {
      ++num_values;
      return;
    }
    const int64_t count = c10::multiply_integers(entry.shape);
    ++num_tensors;
    num_elements += count;
    num_bytes += static_cast<uint64_t>(count) * c10::elementSize(entry.dtype);
    ++dtypes[dtype_name(entry.dtype)];
  }
  std::string text() const {
    if (num_tensors == 0) return fmt::format("{} values", num_values);
    std::vector<std::string> names;
    for (const auto& [name, count] : dtypes) names.push_back(name);
    return fmt::format("{} tensors, {:.4g} M elements, {}, {}{}", num_tensors,
                       static_cast<double>(num_elements) * 1e-6, fmt::join(names, ", "),
                       format_bytes(num_bytes),
                       num_values > 0 ? fmt::format(", and {} values", num_values) : "");
  }
};

/// `roles.student`, `callbacks.ema`, `dataloader`: what a key belongs to.
std::string part_of(const std::string& key) {
  const size_t first = key.find('.');
  if (key.starts_with("dataloader") || first == std::string::npos) return key.substr(0, first);
  return key.substr(0, key.find('.', first + 1));
}

std::string writer_of(const CheckpointFolder& checkpoint) {
  const auto metadata =
      nlohmann::json::parse(read_file(checkpoint.path / "metadata.json"), nullptr, false);
  const nlohmann::json::json_pointer version("/zoetrope/format_version");
  return metadata.contains(version) ? fmt::format("Zoetrope, format {}", metadata[version].dump())
                                    : "FastVideo (no checksums)";
}

CheckpointFolder parse_folder(const fs::path& path) {
  const fs::path absolute = fs::canonical(path);
  for (const CheckpointFolder& folder : list_checkpoints(absolute.parent_path())) {
    if (fs::equivalent(folder.path, absolute)) return folder;
  }
  return {};
}

}  // namespace

bool is_checkpoint(const fs::path& path) {
  return fs::is_directory(path) && !parse_folder(path).path.empty();
}

void inspect_checkpoint(const fs::path& path, bool tensors) {
  const CheckpointFolder checkpoint = parse_folder(path);
  fmt::print("checkpoint {}: step {}\n", path.string(), checkpoint.step);
  const std::vector<std::string> faults = checkpoint_faults(checkpoint);
  if (!faults.empty()) {
    for (const std::string& fault : faults) fmt::print("fault: {}\n", fault);
    fail<CheckpointError>("damaged: {} faults, listed above", faults.size());
  }
  fmt::print("  written by {}\n", writer_of(checkpoint));
  const DcpFolder dcp(checkpoint.dcp());
  std::map<std::string, PartTotals> parts;
  for (const auto& [key, entry] : dcp.entries()) {
    parts[part_of(key)].add(entry);
    if (tensors && entry.is_tensor)
      fmt::print("{:8} {:24} {}\n", dtype_name(entry.dtype), format_shape(entry.shape), key);
  }
  for (const auto& [name, totals] : parts) fmt::print("  {:24} {}\n", name, totals.text());
  fmt::print("complete; no faults found\n");
}

}  // namespace zoetrope
