#include "zoetrope/inspect_parquet.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

/// How often each key is held, and how far the mouse moves.
class ActionTotals {
 public:
  void add(const ParquetRow& row) {
    if (const auto found = row.tensors.find("keyboard_cond"); found != row.tensors.end()) {
      const at::Tensor held_K = found->second.ne(0.0).to(at::kDouble).sum(0);
      const bool fits = held_K_.defined() && held_K_.sizes() == held_K.sizes();
      held_K_ = fits ? held_K_ + held_K : held_K;
      num_frames_ += found->second.size(0);
    }
    if (const auto found = row.tensors.find("mouse_cond"); found != row.tensors.end())
      largest_move_ = std::max(largest_move_, found->second.abs().max().item<double>());
  }

  void print() const {
    if (num_frames_ == 0) return;
    std::vector<std::string> shares;
    for (int64_t key = 0; key < held_K_.size(0); ++key) {
      shares.push_back(fmt::format(
          "{:.1f}%", 100.0 * held_K_[key].item<double>() / static_cast<double>(num_frames_)));
    }
    fmt::print("  actions of {} frames: keys held in {} of them; mouse at most {:.4g}\n",
               num_frames_, fmt::join(shares, ", "), largest_move_);
  }

 private:
  at::Tensor held_K_;
  int64_t num_frames_ = 0;
  double largest_move_ = 0.0;
};

}  // namespace

std::optional<fs::path> find_parquet_file(const fs::path& path) {
  if (path.extension() == ".parquet") return path;
  if (!fs::is_directory(path)) return std::nullopt;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.path().extension() == ".parquet") return entry.path();
  }
  return std::nullopt;
}

void inspect_parquet(const fs::path& path, int64_t max_rows) {
  const ParquetSchema& schema = detect_parquet_schema(find_parquet_file(path).value());
  const ParquetDataset dataset({{path.string(), 1}}, schema);
  fmt::print("parquet set {}: {} rows of schema {} in {} files\n", path.string(),
             dataset.num_rows(), schema.name, dataset.files().size());
  const int64_t num_read = std::min(max_rows, dataset.num_rows());
  std::map<std::string, std::map<std::string, int64_t>> shapes;
  std::vector<std::string> faults;
  ActionTotals actions;
  for (int64_t row = 0; row < num_read; ++row) {
    try {
      const ParquetRow read = dataset.read(row);
      for (const auto& [name, tensor] : read.tensors) ++shapes[name][format_shape(tensor.sizes())];
      actions.add(read);
    } catch (const DataError& error) {
      faults.push_back(describe_error_chain(error));
    }
  }
  for (const auto& [name, counts] : shapes) {
    fmt::print("  {}\n", name);
    for (const auto& [shape, count] : counts) fmt::print("    {:24} {} rows\n", shape, count);
  }
  actions.print();
  if (num_read < dataset.num_rows())
    fmt::print("  read {} of {} rows (--max-rows)\n", num_read, dataset.num_rows());
  for (const std::string& fault : faults) fmt::print("fault: {}\n", fault);
  if (!faults.empty()) fail<DataError>("{} faults, listed above", faults.size());
  fmt::print("no faults found\n");
}

}  // namespace zoetrope
