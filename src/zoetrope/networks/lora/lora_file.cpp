#include "zoetrope/networks/lora/lora_file.h"

#include <cmath>
#include <map>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kTransformerPrefix = "transformer.";
const std::string kMetadataKey = "lora_adapter_metadata";

bool has_prefix(const SafetensorsFile& file) {
  const auto& entries = file.entries();
  return !entries.empty() && entries.begin()->first.starts_with(kTransformerPrefix);
}

std::string without_suffix(const std::string& name, const std::string& suffix) {
  return name.substr(0, name.size() - suffix.size());
}

/// The rank that all pairs of `tensors` share.
int64_t common_rank(const NamedTensors& tensors, const std::string& where) {
  std::map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  std::optional<int64_t> rank;
  for (const auto& [name, tensor] : tensors) {
    const bool is_a = name.ends_with(kLoraSuffixA);
    if (!is_a && !name.ends_with(kLoraSuffixB)) {
      fail<CheckpointError>(
          "{}: must hold only tensors named <layer>.lora_A.weight and <layer>.lora_B.weight, but "
          "has '{}'",
          where, name);
    }
    const std::string partner = is_a ? without_suffix(name, kLoraSuffixA) + kLoraSuffixB
                                     : without_suffix(name, kLoraSuffixB) + kLoraSuffixA;
    if (!by_name.contains(partner))
      fail<CheckpointError>("{}: must hold '{}' beside '{}', but it is missing", where, partner,
                            name);
    if (tensor.dim() != 2) {
      fail<CheckpointError>("{}: '{}' must be a matrix, but has shape {}", where, name,
                            format_shape(tensor.sizes()));
    }
    const int64_t own_rank = tensor.size(is_a ? 0 : 1);
    if (rank && *rank != own_rank) {
      fail<CheckpointError>(
          "{}: adapters must all have one rank, but '{}' has rank {} and others "
          "have {}",
          where, name, own_rank, *rank);
    }
    rank = own_rank;
  }
  if (!rank || *rank == 0) fail<CheckpointError>("{}: must hold adapters, but has none", where);
  return *rank;
}

/// alpha of Diffusers' metadata, whose keys begin as the tensors do; nothing without metadata.
std::optional<double> metadata_alpha(const SafetensorsFile& file, const std::string& prefix,
                                     const std::string& where) {
  const auto found = file.metadata().find(kMetadataKey);
  if (found == file.metadata().end()) return std::nullopt;
  const json metadata = json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  if (!metadata.is_object())
    fail<CheckpointError>("{}: metadata '{}' must be a JSON object", where, kMetadataKey);
  const auto value = [&](const char* key) { return metadata.value(prefix + key, json()); };
  for (const char* kind : {"use_dora", "use_rslora", "alpha_pattern", "rank_pattern"}) {
    const json setting = value(kind);
    if (setting.is_null() || setting.empty() || setting == json(false)) continue;
    fail<CheckpointError>("{}: must be plain LoRA with one rank and one alpha, but its {} is {}",
                          where, kind, setting.dump());
  }
  const json alpha = value("lora_alpha");
  if (alpha.is_null()) return std::nullopt;
  if (!alpha.is_number())
    fail<CheckpointError>("{}: lora_alpha of the metadata must be a number, but is {}", where,
                          alpha.dump());
  return alpha.get<double>();
}

std::string metadata_text(const LoraWeights& adapters) {
  json layers = json::array();
  for (const auto& [name, tensor] : adapters.tensors) {
    if (name.ends_with(kLoraSuffixA)) layers.push_back(without_suffix(name, kLoraSuffixA));
  }
  const double rounded = std::round(adapters.alpha);
  json alpha = adapters.alpha;
  if (rounded == adapters.alpha) alpha = static_cast<int64_t>(rounded);
  const json metadata = {{kTransformerPrefix + "peft_type", "LORA"},
                         {kTransformerPrefix + "r", adapters.rank},
                         {kTransformerPrefix + "lora_alpha", alpha},
                         {kTransformerPrefix + "target_modules", layers}};
  return metadata.dump(2);
}

at::Tensor merged(const at::Tensor& weight, const at::Tensor& a, const at::Tensor& b, double scale,
                  at::ScalarType dtype) {
  const at::Tensor product = at::mm(b.to(at::kCPU, at::kFloat), a.to(at::kCPU, at::kFloat));
  return at::add(weight.to(at::kCPU, at::kFloat), product, scale).to(dtype);
}

}  // namespace

LoraWeights read_lora_file(const fs::path& file_or_folder) {
  const fs::path path =
      fs::is_directory(file_or_folder) ? file_or_folder / kLoraFileName : file_or_folder;
  const std::string where = path.string();
  if (!fs::is_regular_file(path)) {
    fail<CheckpointError>("{}: must be an adapter file or a folder with {}, but is missing", where,
                          kLoraFileName);
  }
  const SafetensorsFile file(path);
  const std::string prefix = has_prefix(file) ? kTransformerPrefix : "";
  LoraWeights adapters;
  for (const auto& [name, entry] : file.entries()) {
    const std::string own = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    adapters.tensors.emplace_back(own, file.tensor(name));
  }
  adapters.rank = common_rank(adapters.tensors, where);
  adapters.alpha = metadata_alpha(file, prefix, where).value_or(static_cast<double>(adapters.rank));
  return adapters;
}

void write_lora_file(const fs::path& folder, const LoraWeights& adapters) {
  fs::create_directories(folder);
  NamedTensors prefixed;
  for (const auto& [name, tensor] : adapters.tensors)
    prefixed.emplace_back(kTransformerPrefix + name, tensor);
  write_safetensors(folder / kLoraFileName, prefixed,
                    {{"format", "pt"}, {kMetadataKey, metadata_text(adapters)}});
}

void load_lora_weights(LoraAdapters& adapters, const LoraWeights& weights,
                       const std::string& source) {
  const LoraOptions& options = adapters.options();
  if (weights.rank != options.rank || weights.alpha != options.alpha) {
    fail<CheckpointError>(
        "{}: must have the configured rank {} and alpha {}, but has rank {} and alpha {}; set "
        "lora.rank and lora.alpha as in the file",
        source, options.rank, options.alpha, weights.rank, weights.alpha);
  }
  std::map<std::string, at::Tensor> given(weights.tensors.begin(), weights.tensors.end());
  std::vector<std::string> faults;
  for (const TensorSpec& spec : adapters.parameters().whole_specs()) {
    const auto found = given.find(spec.name);
    if (found == given.end()) {
      faults.push_back(fmt::format("'{}' is missing", spec.name));
      continue;
    }
    if (found->second.sizes() != at::IntArrayRef(spec.shape)) {
      faults.push_back(fmt::format("'{}' must have shape {}, but has {}", spec.name,
                                   format_shape(spec.shape), format_shape(found->second.sizes())));
    }
    given.erase(found);
  }
  for (const auto& [name, tensor] : given)
    faults.push_back(fmt::format("'{}' is unexpected", name));
  if (!faults.empty()) {
    fail<CheckpointError>(
        "{}: must hold the adapters of the targeted layers, but:\n  {}\nset lora.target_modules to "
        "the layers that the file adapts",
        source, fmt::join(faults, "\n  "));
  }
  adapters.parameters().load(weights.tensors);
}

std::vector<PendingTensor> merged_weights(const NamedTensors& base, const LoraWeights& adapters,
                                          at::ScalarType dtype) {
  std::map<std::string, at::Tensor> unused(adapters.tensors.begin(), adapters.tensors.end());
  const double scale = adapters.alpha / static_cast<double>(adapters.rank);
  std::vector<PendingTensor> result;
  for (const auto& [name, weight] : base) {
    PendingTensor pending{{name, weight.sizes().vec()}, dtype, {}};
    const std::string layer = name.ends_with(".weight") ? without_suffix(name, ".weight") : name;
    auto a = unused.extract(layer + kLoraSuffixA);
    auto b = unused.extract(layer + kLoraSuffixB);
    if (a.empty() || b.empty()) {
      pending.make = [weight = weight, dtype] { return weight.to(dtype); };
    } else {
      const at::Tensor& a_matrix = a.mapped();
      const at::Tensor& b_matrix = b.mapped();
      if (weight.sizes() != at::IntArrayRef({b_matrix.size(0), a_matrix.size(1)})) {
        fail<CheckpointError>(
            "merging '{}': the adapter is for a weight of shape {}, but it has {}", name,
            format_shape({b_matrix.size(0), a_matrix.size(1)}), format_shape(weight.sizes()));
      }
      pending.make = [weight = weight, a_matrix, b_matrix, scale, dtype] {
        return merged(weight, a_matrix, b_matrix, scale, dtype);
      };
    }
    result.push_back(std::move(pending));
  }
  if (!unused.empty()) {
    fail<CheckpointError>(
        "merging: the adapter '{}' must belong to a weight of the network, but "
        "there is none",
        unused.begin()->first);
  }
  return result;
}

}  // namespace zoetrope
