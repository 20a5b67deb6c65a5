#include "zoetrope/export_writer.h"

#include <cstring>
#include <limits>
#include <map>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/progress.h"
#include "zoetrope/base/staging_folder.h"
#include "zoetrope/models/pipeline_export.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDiffusersStem = "diffusion_pytorch_model";
constexpr const char* kComfyUiStem = "diffusion_model";
constexpr uint64_t kMaxShardBytes = 10'000'000'000;
constexpr int64_t kTextLength = 512;  ///< of every released Wan model; not in Diffusers' config

WanKeyFormat key_format(ExportLayout layout) {
  switch (layout) {
    case ExportLayout::kOriginal:
      return {WanKeyLayout::kOriginal, ""};
    case ExportLayout::kComfyUi:
      return comfyui_key_format();
    default:
      return {};
  }
}

bool is_one_file(const ExportOptions& options) {
  return options.output.extension() == ".safetensors";
}

void check_options(const ExportSource& source, const ExportOptions& options) {
  if (options.merge && !source.adapters)
    fail<ConfigError>("--merge: the role must train adapters (LoRA), but it trains all weights");
  if (source.adapters && !options.merge && options.layout != ExportLayout::kDiffusers) {
    fail<ConfigError>(
        "--layout: adapters are written as Diffusers has them; add --merge for whole weights in "
        "another layout");
  }
}

std::vector<PendingTensor> whole_weights(const ExportSource& source, const ExportOptions& options) {
  if (source.adapters) {
    return merged_weights(source.weights, *source.adapters,
                          options.dtype.value_or(source.weights.front().second.scalar_type()));
  }
  std::vector<PendingTensor> pending;
  for (const auto& [name, tensor] : source.weights) {
    const at::ScalarType dtype = options.dtype.value_or(tensor.scalar_type());
    pending.push_back({{name, tensor.sizes().vec()}, dtype, [tensor = tensor, dtype] {
                         return tensor.to(dtype);
                       }});
  }
  return pending;
}

LoraWeights cast_adapters(const ExportSource& source, const ExportOptions& options) {
  LoraWeights adapters = *source.adapters;
  if (options.dtype) {
    for (auto& [name, tensor] : adapters.tensors) tensor = tensor.to(*options.dtype);
  }
  return adapters;
}

// What the original release's loader reads (WanModel.from_pretrained).
void write_original_config(const fs::path& path, const WanTransformerConfig& config) {
  const nlohmann::ordered_json json = {
      {"_class_name", "WanModel"},
      {"_diffusers_version", "0.30.0"},
      {"dim", config.width()},
      {"eps", config.eps},
      {"ffn_dim", config.ffn_dim},
      {"freq_dim", config.freq_dim},
      {"in_dim", config.in_channels},
      {"model_type", config.has_image_branch() ? "i2v" : "t2v"},
      {"num_heads", config.num_attention_heads},
      {"num_layers", config.num_layers},
      {"out_dim", config.out_channels},
      {"text_len", kTextLength},
  };
  write_file_atomically(path, json.dump(2) + "\n");
}

bool same_bits(const at::Tensor& left, const at::Tensor& right) {
  if (left.scalar_type() != right.scalar_type() || left.sizes() != right.sizes()) return false;
  const at::Tensor a = left.contiguous();
  const at::Tensor b = right.contiguous();
  return std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

void verify_weights(const fs::path& folder_or_file, const std::vector<PendingTensor>& expected) {
  const WeightFolder written(folder_or_file);
  std::vector<TensorSpec> specs;
  specs.reserve(expected.size());
  for (const PendingTensor& tensor : expected) specs.push_back(tensor.spec);
  const NamedTensors read = written.load_strict(specs);
  Progress progress("verify", static_cast<int64_t>(expected.size()), "tensors");
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!same_bits(read[i].second, expected[i].make().cpu()))
      fail<CheckpointError>("--verify: '{}' must read back as it was, but differs", read[i].first);
    progress.advance();
  }
  progress.finish();
  log_info("verified: {} tensors read back bit for bit", expected.size());
}

void verify_adapters(const fs::path& folder, const LoraWeights& expected) {
  const LoraWeights read = read_lora_file(folder);
  std::map<std::string, at::Tensor> tensors(read.tensors.begin(), read.tensors.end());
  const bool same_scale = read.rank == expected.rank && read.alpha == expected.alpha;
  for (const auto& [name, tensor] : expected.tensors) {
    const auto found = tensors.extract(name);
    if (found.empty() || !same_bits(found.mapped(), tensor))
      fail<CheckpointError>("--verify: '{}' must read back as it was, but does not", name);
  }
  if (!same_scale || !tensors.empty())
    fail<CheckpointError>("--verify: rank, alpha or the list of adapters read back differently");
  log_info("verified: {} tensors read back bit for bit", expected.tensors.size());
}

/// The weights with their names in the layout, counted while they are written.
std::vector<PendingTensor> for_layout(const std::vector<PendingTensor>& weights,
                                      const WanKeyFormat& format, Progress& progress) {
  std::vector<PendingTensor> pending = weights;
  for (PendingTensor& tensor : pending) {
    tensor.spec.name = rename_wan_key(tensor.spec.name, {}, format);
    tensor.make = [make = tensor.make, &progress] {
      progress.advance();
      return make();
    };
  }
  return pending;
}

void write_whole_weights(const ExportSource& source, const ExportOptions& options,
                         StagingFolder& staging) {
  const bool diffusers = options.layout == ExportLayout::kDiffusers;
  const fs::path config_file = source.pipeline_folder / "transformer" / "config.json";
  const fs::path folder = diffusers ? staging.path() / "transformer" : staging.path();
  if (diffusers) {
    log_info("linking or copying the other components of {}", source.pipeline_folder.string());
    copy_pipeline_folder(source.pipeline_folder, staging.path(), "transformer");
    fs::create_directories(folder);
    write_transformer_config(source.pipeline_folder, staging.path(), source.network);
  }
  const bool one_file = is_one_file(options) || options.layout == ExportLayout::kComfyUi;
  const std::string stem = one_file ? kComfyUiStem : kDiffusersStem;
  const uint64_t max_shard_bytes = one_file ? std::numeric_limits<uint64_t>::max() : kMaxShardBytes;

  const std::vector<PendingTensor> weights = whole_weights(source, options);
  Progress progress("write", static_cast<int64_t>(weights.size()), "tensors");
  const auto pending = for_layout(weights, key_format(options.layout), progress);
  write_weight_folder(folder, stem, pending, max_shard_bytes);
  progress.finish();
  const fs::path file = folder / (stem + ".safetensors");
  if (options.verify) verify_weights(one_file ? file : folder, pending);
  if (options.layout == ExportLayout::kOriginal && !is_one_file(options))
    write_original_config(folder / "config.json", read_wan_transformer_config(config_file));
  staging.put_in_place(is_one_file(options) ? file : staging.path());
}

}  // namespace

void check_output(const ExportOptions& options) {
  if (is_one_file(options) && options.layout == ExportLayout::kDiffusers)
    fail<ConfigError>("--output: a Diffusers pipeline must be a folder, but got {}",
                      options.output.string());
  if (fs::exists(options.output) && !options.overwrite)
    fail<ConfigError>("--output: {} must not exist, but it does; --overwrite replaces it",
                      options.output.string());
}

void write_export(const ExportSource& source, const ExportOptions& options) {
  check_output(options);
  check_options(source, options);
  StagingFolder staging(options.output);
  if (!source.adapters || options.merge) return write_whole_weights(source, options, staging);
  const LoraWeights adapters = cast_adapters(source, options);
  write_lora_file(staging.path(), adapters);
  if (options.verify) verify_adapters(staging.path(), adapters);
  staging.put_in_place(staging.path());
}

}  // namespace zoetrope
