#include "zoetrope/inspect_command.h"

#include <filesystem>
#include <map>
#include <memory>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/inspect_checkpoint.h"
#include "zoetrope/inspect_parquet.h"
#include "zoetrope/networks/pipeline_folder.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(Examples:
  zoetrope inspect assets/tiny-wan                      a pipeline folder: components, sizes, faults
  zoetrope inspect model.safetensors --tensors          every tensor of a file
  zoetrope inspect data/quickstart                      parquet files: rows, columns, shapes, faults
  zoetrope inspect runs/quickstart                      a run: progress, last metrics, checkpoints, exports
  zoetrope inspect runs/quickstart/checkpoint-500       a checkpoint: roles, sizes, whether it is whole

The exit code is 1 when something is wrong with it.)";

struct Options {
  std::string path;
  bool tensors = false;
  int64_t max_rows = 1000;
};

struct WeightTotals {
  int64_t num_tensors = 0;
  int64_t num_elements = 0;
  uint64_t num_bytes = 0;
  std::map<std::string, int64_t> elements_by_dtype;

  void add(const SafetensorsEntry& entry) {
    const int64_t count = c10::multiply_integers(entry.shape);
    ++num_tensors;
    num_elements += count;
    num_bytes += entry.end - entry.begin;
    elements_by_dtype[dtype_name(entry.dtype)] += count;
  }
  std::string text() const {
    std::string dtypes;
    for (const auto& [dtype, count] : elements_by_dtype)
      dtypes += (dtypes.empty() ? "" : ", ") + dtype;
    return fmt::format("{} tensors, {:.4g} M parameters, {}, {}", num_tensors,
                       static_cast<double>(num_elements) * 1e-6, dtypes, format_bytes(num_bytes));
  }
};

void print_faults(const std::vector<std::string>& faults) {
  for (const std::string& fault : faults) fmt::print("fault: {}\n", fault);
  if (!faults.empty()) fail<CheckpointError>("{} faults, listed above", faults.size());
  fmt::print("no faults found\n");
}

/// `; a Wan transformer, names: Diffusers` for a Wan transformer, else nothing.
std::string describe_names(const std::vector<std::string>& names) {
  const auto format = detect_wan_key_format(names);
  return format ? fmt::format("; a Wan transformer, names: {}", format->describe()) : "";
}

void inspect_safetensors(const fs::path& path, bool tensors) {
  const SafetensorsFile file(path);
  WeightTotals totals;
  std::vector<std::string> names;
  for (const auto& [name, entry] : file.entries()) {
    totals.add(entry);
    names.push_back(name);
    if (tensors)
      fmt::print("{:8} {:24} {}\n", dtype_name(entry.dtype), format_shape(entry.shape), name);
  }
  for (const auto& [key, value] : file.metadata()) fmt::print("metadata {}: {}\n", key, value);
  fmt::print("safetensors file {}: {}{}\n", path.string(), totals.text(), describe_names(names));
}

void inspect_pipeline(const fs::path& path, bool tensors) {
  const PipelineFolder pipeline(path);
  fmt::print("pipeline folder {}: {}\n", path.string(), pipeline.class_name());
  const std::vector<std::string> faults = pipeline.faults();
  for (const auto& [name, library, class_name] : pipeline.components()) {
    fmt::print("  {:14} {}.{}\n", name, library, class_name);
    const fs::path folder = path / name;
    const bool has_weights = fs::exists(folder / "config.json");
    if (!faults.empty() || !has_weights) continue;
    const WeightFolder weights(folder);
    WeightTotals totals;
    for (const std::string& tensor : weights.names()) {
      totals.add(weights.entry(tensor));
      if (tensors) {
        fmt::print("    {:8} {:24} {}\n", dtype_name(weights.entry(tensor).dtype),
                   format_shape(weights.entry(tensor).shape), tensor);
      }
    }
    fmt::print("  {:14} {}{}\n", "", totals.text(), describe_names(weights.names()));
  }
  print_faults(faults);
}

void inspect_run(const fs::path& path) {
  fmt::print("run folder {}\n", path.string());
  const fs::path metrics = path / "metrics.jsonl";
  if (fs::exists(metrics)) {
    nlohmann::json last;
    std::string text = read_file(metrics);
    for (size_t begin = 0, end = text.find('\n'); end != std::string::npos;
         begin = end + 1, end = text.find('\n', begin)) {
      const auto line =
          nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      if (line.is_object() && line.contains("total_loss")) last = line;
    }
    if (!last.is_null())
      fmt::print("  last step {}: loss {}\n", last["step"].dump(), last["total_loss"].dump());
  }
  for (const auto& entry : fs::directory_iterator(path)) {
    const char* kind = fs::exists(entry.path() / "model_index.json") ? "  (pipeline folder)"
                       : is_checkpoint(entry.path())                 ? "  (checkpoint)"
                       : fs::exists(entry.path() / "config.yaml")    ? "  (stage)"
                                                                     : "";
    fmt::print("  {}{}\n", entry.path().filename().string(), kind);
  }
}

void inspect(const Options& options) {
  const fs::path path =
      fs::exists(options.path) ? fs::path(options.path) : resolve_model_path(options.path);
  if (path.extension() == ".safetensors") return inspect_safetensors(path, options.tensors);
  if (fs::exists(path / "model_index.json")) return inspect_pipeline(path, options.tensors);
  if (is_checkpoint(path)) return inspect_checkpoint(path, options.tensors);
  if (fs::exists(path / "config.yaml")) return inspect_run(path);
  if (find_parquet_file(path)) return inspect_parquet(path, options.max_rows);
  fail(
      "{}: must be a pipeline folder (model_index.json), a .safetensors file, parquet files, a "
      "checkpoint or a run folder (config.yaml), but is none of them",
      path.string());
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a path holds, and what is wrong with it");
  command->footer(kExamples);
  command
      ->add_option("PATH", options->path,
                   "Pipeline folder, safetensors file, parquet files, checkpoint or run folder")
      ->required();
  command->add_flag("--tensors", options->tensors, "List every tensor");
  command->add_option("--max-rows", options->max_rows, "Rows of a parquet set to read")
      ->capture_default_str();
  command->callback([options] { inspect(*options); });
}

}  // namespace zoetrope
