#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"

#include <algorithm>
#include <vector>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/networks/config_reader.h"

namespace zoetrope {
namespace {

constexpr const char* kClassName = "WanTransformer3DModel";
constexpr const char* kCausalClassName = "CausalWanTransformer3DModel";
constexpr const char* kGameClassName = "MatrixGame2WanModel";
constexpr const char* kCausalGameClassName = "CausalMatrixGame2WanModel";
constexpr const char* kDiffusersVersion = "0.42.1";
constexpr const char* kQkNorm = "rms_norm_across_heads";

ActionSurroundings surroundings(const WanTransformerConfig& config) {
  return {config.width(), config.patch_size, config.num_layers};
}

void read_game_keys(WanTransformerConfig& config, ConfigReader& reader) {
  reader.only("text_dim", 0);
  config.text_dim = 0;
  const nlohmann::json* action = reader.object("action_config");
  if (action == nullptr) {
    reader.fault("'action_config' must be given, and {} where the network takes no actions");
  } else if (!action->empty()) {
    config.action = parse_action_config(*action, surroundings(config), reader);
  }
}

void check_image_keys(const WanTransformerConfig& config, ConfigReader& reader) {
  if (config.is_game && !config.image_dim)
    return reader.fault("'image_dim' must be given for a game network");
  if (!config.is_game && config.image_dim.has_value() != config.added_kv_proj_dim.has_value())
    return reader.fault("'image_dim' and 'added_kv_proj_dim' must both be given or both be null");
  if (config.has_image_branch() && *config.added_kv_proj_dim != config.width())
    reader.fault("added_kv_proj_dim", fmt::format("must be the model's width {}", config.width()));
}

}  // namespace

WanTransformerConfig parse_wan_transformer_config(const nlohmann::json& json,
                                                  const std::string& where) {
  if (!json.is_object())
    fail<CheckpointError>("{}: must be a JSON object, but is {}", where, json.type_name());
  WanTransformerConfig config;
  ConfigReader reader(json, kClassName);
  std::optional<std::string> name;
  reader.optional_choice(
      "_class_name", {kClassName, kCausalClassName, kGameClassName, kCausalGameClassName}, name);
  config.is_causal = name == kCausalClassName || name == kCausalGameClassName;
  config.is_game = name == kGameClassName || name == kCausalGameClassName;
  reader.three_integers("patch_size", 1, config.patch_size);
  reader.positive("num_attention_heads", config.num_attention_heads, true);
  reader.positive("attention_head_dim", config.attention_head_dim, true);
  reader.positive("in_channels", config.in_channels, true);
  reader.positive("out_channels", config.out_channels, true);
  if (!config.is_game) reader.positive("text_dim", config.text_dim, true);
  reader.positive("freq_dim", config.freq_dim, true);
  reader.positive("ffn_dim", config.ffn_dim, true);
  reader.positive("num_layers", config.num_layers, true);
  reader.boolean("cross_attn_norm", config.cross_attn_norm);
  reader.only("qk_norm", kQkNorm);
  reader.positive_real("eps", config.eps);
  reader.optional_positive("image_dim", config.image_dim);
  reader.optional_positive("added_kv_proj_dim", config.added_kv_proj_dim);
  reader.positive("rope_max_seq_len", config.rope_max_seq_len, false);
  reader.only("pos_embed_seq_len", nullptr);
  reader.optional_integer("local_attn_size", -1, config.local_attn_size);
  reader.optional_integer("sink_size", 0, config.sink_size);
  reader.optional_integer("num_frames_per_block", 1, config.num_frames_per_block);
  reader.optional_integer("sliding_window_num_frames", 1, config.sliding_window_num_frames);
  reader.optional_choice("rope_cache_policy", {"absolute", "relativistic"},
                         config.rope_cache_policy);
  if (config.is_game) read_game_keys(config, reader);
  reader.refuse_unknown_keys();
  if (config.attention_head_dim % 2 != 0) reader.fault("attention_head_dim", "must be even");
  if (config.freq_dim % 2 != 0) reader.fault("freq_dim", "must be even");
  check_image_keys(config, reader);
  if (!reader.faults().empty())
    fail<CheckpointError>("{}: {}", where, fmt::join(reader.faults(), "; "));
  return config;
}

WanTransformerConfig read_wan_transformer_config(const std::filesystem::path& path) {
  const nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
  if (json.is_discarded()) fail<CheckpointError>("{}: must be JSON, but is not", path.string());
  return parse_wan_transformer_config(json, path.string());
}

void check_parallel_ranks(const WanTransformerConfig& config, int64_t sequence_ranks,
                          int64_t tensor_ranks) {
  if (config.num_attention_heads % (sequence_ranks * tensor_ranks) != 0) {
    fail<ConfigError>(
        "sequence and tensor parallelism: ranks share the attention heads, so sp_size x tp_size "
        "must divide the network's {} heads, but is {} x {}",
        config.num_attention_heads, sequence_ranks, tensor_ranks);
  }
  if (config.ffn_dim % tensor_ranks != 0) {
    fail<ConfigError>(
        "tensor parallelism: tp_size must divide the feed-forward's {} features, but is {}",
        config.ffn_dim, tensor_ranks);
  }
}

std::string class_name(const WanTransformerConfig& config) {
  if (config.is_game) return config.is_causal ? kCausalGameClassName : kGameClassName;
  return config.is_causal ? kCausalClassName : kClassName;
}

nlohmann::ordered_json to_json(const WanTransformerConfig& config) {
  const auto optional = [](const std::optional<int64_t>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json = {{"_class_name", class_name(config)},
                                 {"_diffusers_version", kDiffusersVersion},
                                 {"added_kv_proj_dim", optional(config.added_kv_proj_dim)},
                                 {"attention_head_dim", config.attention_head_dim},
                                 {"cross_attn_norm", config.cross_attn_norm},
                                 {"eps", config.eps},
                                 {"ffn_dim", config.ffn_dim},
                                 {"freq_dim", config.freq_dim},
                                 {"image_dim", optional(config.image_dim)},
                                 {"in_channels", config.in_channels},
                                 {"num_attention_heads", config.num_attention_heads},
                                 {"num_layers", config.num_layers},
                                 {"out_channels", config.out_channels},
                                 {"patch_size", config.patch_size},
                                 {"pos_embed_seq_len", nullptr},
                                 {"qk_norm", kQkNorm},
                                 {"rope_max_seq_len", config.rope_max_seq_len},
                                 {"text_dim", config.text_dim}};
  const auto add = [&](const char* key, const auto& value) {
    if (value) json[key] = *value;
  };
  add("local_attn_size", config.local_attn_size);
  add("sink_size", config.sink_size);
  add("num_frames_per_block", config.num_frames_per_block);
  add("sliding_window_num_frames", config.sliding_window_num_frames);
  add("rope_cache_policy", config.rope_cache_policy);
  if (config.is_game) {
    json["action_config"] = config.action ? to_json(*config.action, surroundings(config))
                                          : nlohmann::ordered_json::object();
  }
  return json;
}

bool WanTransformerConfig::has_action_module(int64_t index) const {
  if (!action) return false;
  const std::vector<int64_t>& blocks = action->blocks;
  return !is_causal || std::find(blocks.begin(), blocks.end(), index) != blocks.end();
}

}  // namespace zoetrope
