#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"

#include <algorithm>
#include <vector>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/nearest.h"

namespace zoetrope {
namespace {

constexpr const char* kClassName = "WanTransformer3DModel";
constexpr const char* kCausalClassName = "CausalWanTransformer3DModel";
constexpr const char* kDiffusersVersion = "0.42.1";
constexpr const char* kQkNorm = "rms_norm_across_heads";

/// Takes values out of a JSON object and collects what is wrong with them.
class ConfigReader {
 public:
  explicit ConfigReader(const nlohmann::json& json) : json_(json) {}

  void positive(const std::string& key, int64_t& value, bool required) {
    if (!present(key, required)) return;
    const nlohmann::json& entry = json_.at(key);
    if (!entry.is_number_integer() || entry.get<int64_t>() <= 0) {
      return fault(key, "must be a positive integer");
    }
    value = entry.get<int64_t>();
  }

  void optional_positive(const std::string& key, std::optional<int64_t>& value) {
    if (!present(key, false) || json_.at(key).is_null()) return;
    int64_t number = 0;
    positive(key, number, false);
    value = number;
  }

  void boolean(const std::string& key, bool& value) {
    if (!present(key, false)) return;
    if (!json_.at(key).is_boolean()) return fault(key, "must be true or false");
    value = json_.at(key).get<bool>();
  }

  void positive_real(const std::string& key, double& value) {
    if (!present(key, false)) return;
    if (!json_.at(key).is_number() || !(json_.at(key).get<double>() > 0)) {
      return fault(key, "must be a positive number");
    }
    value = json_.at(key).get<double>();
  }

  void patch(const std::string& key, std::array<int64_t, 3>& value) {
    if (!present(key, false)) return;
    const nlohmann::json& entry = json_.at(key);
    bool good = entry.is_array() && entry.size() == value.size();
    for (size_t i = 0; good && i < value.size(); ++i) {
      good = entry[i].is_number_integer() && entry[i].get<int64_t>() > 0;
      if (good) value[i] = entry[i].get<int64_t>();
    }
    if (!good) fault(key, "must be three positive integers");
  }

  /// An integer of at least `minimum` that is not 0 unless `minimum` is.
  void optional_integer(const std::string& key, int64_t minimum, std::optional<int64_t>& value) {
    if (!present(key, false) || json_.at(key).is_null()) return;
    const nlohmann::json& entry = json_.at(key);
    if (!entry.is_number_integer() || entry.get<int64_t>() < minimum ||
        (minimum != 0 && entry.get<int64_t>() == 0)) {
      return fault(key, minimum < 0 ? "must be -1 or a positive integer"
                                    : fmt::format("must be an integer of at least {}", minimum));
    }
    value = entry.get<int64_t>();
  }

  /// One of `choices`.
  void optional_choice(const std::string& key, const std::vector<std::string>& choices,
                       std::optional<std::string>& value) {
    if (!present(key, false) || json_.at(key).is_null()) return;
    const nlohmann::json& entry = json_.at(key);
    if (!entry.is_string() || std::find(choices.begin(), choices.end(), entry) == choices.end())
      return fault(key, fmt::format("must be one of {}", fmt::join(choices, ", ")));
    value = entry.get<std::string>();
  }

  /// `key` may only be absent or equal to `supported`.
  void only(const std::string& key, const nlohmann::json& supported) {
    if (!present(key, false) || json_.at(key) == supported) return;
    fault(key, fmt::format("must be {} (nothing else is supported)", supported.dump()));
  }

  void refuse_unknown_keys() {
    for (const auto& [key, value] : json_.items()) {
      if (key.starts_with("_") || std::find(known_.begin(), known_.end(), key) != known_.end())
        continue;
      faults_.push_back(fmt::format("'{}' must be a key of {}, but is not{}", key, kClassName,
                                    did_you_mean(key, known_)));
    }
  }

  const std::vector<std::string>& faults() const { return faults_; }

  void fault(const std::string& message) { faults_.push_back(message); }

  void fault(const std::string& key, const std::string& must) {
    faults_.push_back(fmt::format("'{}' {}, but is {}", key, must, json_.at(key).dump()));
  }

 private:
  bool present(const std::string& key, bool required) {
    known_.push_back(key);
    if (json_.contains(key)) return true;
    if (required) faults_.push_back(fmt::format("'{}' must be given, but is missing", key));
    return false;
  }

  const nlohmann::json& json_;
  std::vector<std::string> known_;
  std::vector<std::string> faults_;
};

}  // namespace

WanTransformerConfig parse_wan_transformer_config(const nlohmann::json& json,
                                                  const std::string& where) {
  if (!json.is_object())
    fail<CheckpointError>("{}: must be a JSON object, but is {}", where, json.type_name());
  WanTransformerConfig config;
  ConfigReader reader(json);
  std::optional<std::string> class_name;
  reader.optional_choice("_class_name", {kClassName, kCausalClassName}, class_name);
  config.is_causal = class_name == kCausalClassName;
  reader.patch("patch_size", config.patch_size);
  reader.positive("num_attention_heads", config.num_attention_heads, true);
  reader.positive("attention_head_dim", config.attention_head_dim, true);
  reader.positive("in_channels", config.in_channels, true);
  reader.positive("out_channels", config.out_channels, true);
  reader.positive("text_dim", config.text_dim, true);
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
  reader.refuse_unknown_keys();
  if (config.attention_head_dim % 2 != 0) reader.fault("attention_head_dim", "must be even");
  if (config.freq_dim % 2 != 0) reader.fault("freq_dim", "must be even");
  if (config.image_dim.has_value() != config.added_kv_proj_dim.has_value()) {
    reader.fault("'image_dim' and 'added_kv_proj_dim' must both be given or both be null");
  } else if (config.has_image_branch() && *config.added_kv_proj_dim != config.width()) {
    reader.fault("added_kv_proj_dim", fmt::format("must be the model's width {}", config.width()));
  }
  if (!reader.faults().empty())
    fail<CheckpointError>("{}: {}", where, fmt::join(reader.faults(), "; "));
  return config;
}

WanTransformerConfig read_wan_transformer_config(const std::filesystem::path& path) {
  const nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
  if (json.is_discarded()) fail<CheckpointError>("{}: must be JSON, but is not", path.string());
  return parse_wan_transformer_config(json, path.string());
}

nlohmann::ordered_json to_json(const WanTransformerConfig& config) {
  const auto optional = [](const std::optional<int64_t>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json = {{"_class_name", config.is_causal ? kCausalClassName : kClassName},
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
  return json;
}

}  // namespace zoetrope
