#include "zoetrope/export_source.h"

#include <map>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/catalog.h"
#include "zoetrope/checkpoint/checkpoint_metadata.h"
#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRoles = "roles.";
constexpr std::string_view kTransformer = ".transformer.";
constexpr std::string_view kCallbacks = "callbacks.";
constexpr std::string_view kAverage = ".student_ema.";

/// Names in the checkpoint below a prefix -> keys.
using StoredNames = std::map<std::string, std::string>;

/// What the checkpoint's config says of a role.
struct RoleConfig {
  nlohmann::json model;                           ///< models.<role>
  nlohmann::json dit = nlohmann::json::object();  ///< pipeline.dit_config
};

RoleConfig read_role_config(const CheckpointFolder& checkpoint, const std::string& role) {
  const nlohmann::json metadata = read_checkpoint_metadata(checkpoint);
  const auto find = [&](const std::string& path) {
    const nlohmann::json::json_pointer pointer(path);
    return metadata.contains(pointer) ? metadata[pointer] : nlohmann::json();
  };
  for (const std::string config : {"/zoetrope/resolved_config", "/config"}) {
    RoleConfig found{find(config + "/models/" + role)};
    if (!found.model.is_object()) continue;
    const nlohmann::json dit = find(config + "/pipeline/dit_config");
    if (dit.is_object()) found.dit = dit;
    return found;
  }
  fail<CheckpointError>("{}: metadata.json must have config.models.{}, but has not",
                        checkpoint.path.string(), role);
}

std::optional<int64_t> integer(const nlohmann::json& section, const char* key) {
  const nlohmann::json value = section.value(key, nlohmann::json());
  return value.is_number_integer() ? std::optional(value.get<int64_t>()) : std::nullopt;
}

// `callbacks.<name>.student_ema.`: the callback may have any name.
std::string average_prefix(const DcpFolder& checkpoint) {
  for (const auto& [key, entry] : checkpoint.entries()) {
    if (!key.starts_with(kCallbacks)) continue;
    const size_t found = key.find(kAverage);
    if (found == std::string::npos) continue;
    const std::string started = key.substr(0, found) + ".ema_started";
    if (checkpoint.contains(started) && !checkpoint.read_value(started).as_boolean()) break;
    return key.substr(0, found + kAverage.size());
  }
  fail<CheckpointError>(
      "{}: must hold averaged weights for --ema, but has none (no `ema` callback, or it had not "
      "started yet)",
      checkpoint.path().string());
}

std::string role_prefix(const DcpFolder& checkpoint, const std::string& role) {
  std::set<std::string> roles;
  for (const auto& [key, entry] : checkpoint.entries()) {
    const size_t found = key.find(kTransformer);
    if (key.starts_with(kRoles) && found != std::string::npos)
      roles.insert(key.substr(kRoles.size(), found - kRoles.size()));
  }
  if (!roles.contains(role)) {
    fail<CheckpointError>(
        "{}: must hold the role '{}', but has only {}; roles that are not trained are not saved",
        checkpoint.path().string(), role, fmt::join(roles, ", "));
  }
  return fmt::format("roles.{}.transformer.", role);
}

StoredNames stored_names(const DcpFolder& checkpoint, const ExportRequest& request) {
  if (request.average && request.role != "student") {
    fail<ConfigError>("--ema: only the student has averaged weights, but --role is '{}'",
                      request.role);
  }
  const std::string prefix =
      request.average ? average_prefix(checkpoint) : role_prefix(checkpoint, request.role);
  StoredNames names;
  for (const auto& [key, entry] : checkpoint.entries()) {
    if (key.starts_with(prefix)) names.emplace(key.substr(prefix.size()), key);
  }
  return names;
}

/// The transformer that the run started from, by Diffusers names.
NamedTensors read_base_weights(const fs::path& folder_or_file) {
  const WeightFolder weights(folder_or_file);
  const WanKeyFormat format = detect_wan_key_format(weights.names()).value_or(WanKeyFormat{});
  std::vector<TensorSpec> specs;
  for (const std::string& name : weights.names())
    specs.push_back({rename_wan_key(name, format, {}), weights.entry(name).shape});
  return load_wan_weights(folder_or_file, specs);
}

bool is_adapter(const std::string& name) {
  return name.ends_with(".lora_A") || name.ends_with(".lora_B");
}

LoraWeights read_adapters(const DcpFolder& checkpoint, const StoredNames& names,
                          const nlohmann::json& role_config) {
  LoraWeights adapters;
  for (const auto& [name, key] : names) {
    if (!is_adapter(name)) {
      fail<CheckpointError>("{}: must be an adapter like the others of its role, but is not", key);
    }
    adapters.tensors.emplace_back(from_fastvideo_name(name) + ".weight",
                                  checkpoint.read_tensor(key));
    if (name.ends_with(".lora_A")) adapters.rank = adapters.tensors.back().second.size(0);
  }
  const nlohmann::json alpha =
      role_config.value("lora", nlohmann::json::object()).value("alpha", nlohmann::json());
  adapters.alpha = alpha.is_number() ? alpha.get<double>() : static_cast<double>(adapters.rank);
  return adapters;
}

/// The network of the folder as the role had it.
WanTransformerConfig read_network(const fs::path& pipeline_folder, const RoleConfig& role) {
  WanTransformerConfig network =
      read_wan_transformer_config(pipeline_folder / "transformer" / "config.json");
  const Catalog catalog;
  const config::Target* model =
      catalog.registries.models.find(role.model.value("_target_", std::string()));
  if (model == nullptr) return network;
  if (network.is_game) network.is_causal = model->causal;
  if (!model->causal) return network;
  return with_attention(network,
                        training_attention(network, {integer(role.model, "num_frames_per_block"),
                                                     integer(role.dit, "local_attn_size"),
                                                     integer(role.dit, "sink_size")}));
}

/// The checkpoint's tensors in the order of `base`, after comparing names and shapes. Those that
/// `network` has no use for may be missing and are then those of `base`.
NamedTensors read_weights(const DcpFolder& checkpoint, const StoredNames& names,
                          const NamedTensors& base, const WanTransformerConfig& network) {
  StoredNames keys = names;
  std::set<std::string> unused;
  for (const TensorSpec& spec : wan_transformer_unused_specs(network)) unused.insert(spec.name);
  std::vector<std::string> faults;
  NamedTensors weights;
  for (const auto& [name, tensor] : base) {
    const auto found = keys.extract(to_fastvideo_name(name));
    if (found.empty() && unused.contains(name)) {
      weights.emplace_back(name, tensor);
      continue;
    }
    if (found.empty()) {
      faults.push_back(fmt::format("'{}' is missing", name));
      continue;
    }
    const auto& shape = checkpoint.entry(found.mapped()).shape;
    if (shape != tensor.sizes()) {
      faults.push_back(fmt::format("'{}' must have shape {}, but has {}", name,
                                   format_shape(tensor.sizes()), format_shape(shape)));
      continue;
    }
    weights.emplace_back(name, checkpoint.read_tensor(found.mapped()));
  }
  for (const auto& [name, key] : keys)
    faults.push_back(fmt::format("'{}' is not expected", from_fastvideo_name(name)));
  if (!faults.empty()) {
    fail<CheckpointError>(
        "{}: must hold the tensors of the transformer that the run started from, but:\n  {}",
        checkpoint.path().string(), fmt::join(faults, "\n  "));
  }
  return weights;
}

fs::path find_pipeline(const ExportRequest& request, const std::string& init_from) {
  if (!request.base.empty()) return resolve_model_path(request.base);
  try {
    return resolve_model_path(init_from);
  } catch (const Error&) {
    std::throw_with_nested(ConfigError(
        fmt::format("models.{}.init_from of the checkpoint: must be found for what is not trained, "
                    "but is not; say with --base where it is now",
                    request.role)));
  }
}

}  // namespace

ExportSource read_export_source(const ExportRequest& request) {
  ExportSource source;
  log_info("reading {} and its checksums", request.run_or_checkpoint.string());
  source.checkpoint = resolve_resume(fs::absolute(request.run_or_checkpoint).string(), "").value();
  const DcpFolder checkpoint(source.checkpoint.dcp());
  const StoredNames names = stored_names(checkpoint, request);
  const RoleConfig role = read_role_config(source.checkpoint, request.role);
  const nlohmann::json& config = role.model;
  source.pipeline_folder = find_pipeline(request, config.value("init_from", std::string()));
  source.network = read_network(source.pipeline_folder, role);
  const auto override_file = config.value("transformer_override_safetensor", nlohmann::json());
  const NamedTensors base = read_base_weights(override_file.is_string() && request.base.empty()
                                                  ? fs::path(override_file.get<std::string>())
                                                  : source.pipeline_folder / "transformer");
  if (is_adapter(names.begin()->first)) {
    source.adapters = read_adapters(checkpoint, names, config);
    source.weights = base;
  } else {
    source.weights = read_weights(checkpoint, names, base, source.network);
  }
  return source;
}

}  // namespace zoetrope
