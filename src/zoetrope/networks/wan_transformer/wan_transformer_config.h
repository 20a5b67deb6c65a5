// The shape of a Wan 2.1 transformer, as `transformer/config.json` of a Diffusers folder states it.
// Knows no tensors. Source: diffusers, models/transformers/transformer_wan.py
// (WanTransformer3DModel's registered config); FastVideo, configs/models/dits/wanvideo.py (causal
// keys).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "zoetrope/networks/wan_game/action_config.h"

namespace zoetrope {

struct WanTransformerConfig {
  std::array<int64_t, 3> patch_size = {1, 2, 2};  ///< latent frames, rows and columns of one token
  int64_t num_attention_heads = 40;
  int64_t attention_head_dim = 128;
  int64_t in_channels = 16;  ///< 36 for image to video: noise, mask and first-frame latents
  int64_t out_channels = 16;
  int64_t text_dim = 4096;  ///< 0 without text: blocks then attend to image tokens instead
  int64_t freq_dim = 256;   ///< width of the sinusoidal timestep embedding
  int64_t ffn_dim = 13824;
  int64_t num_layers = 40;
  bool cross_attn_norm = true;  ///< an affine LayerNorm in front of the cross attention
  double eps = 1e-6;
  std::optional<int64_t> image_dim;  ///< width of the image tokens; none for text to video
  std::optional<int64_t>
      added_kv_proj_dim;  ///< input width of the image keys and values (the model's own width)
  int64_t rope_max_seq_len = 1024;  ///< most positions on one axis

  /// FastVideo's MatrixGame2WanModel: image to video without text, steered by actions.
  bool is_game = false;
  std::optional<ActionConfig> action;  ///< none for a game network that takes no actions
  /// FastVideo's CausalWanTransformer3DModel, the same network with causal attention, or
  /// CausalMatrixGame2WanModel, whose blocks differ (docs/decisions/0008-game-networks.md).
  bool is_causal = false;
  std::optional<int64_t> local_attn_size;  ///< latent frames, sinks included; -1 is unbounded
  std::optional<int64_t> sink_size;        ///< latent frames
  std::optional<int64_t> num_frames_per_block;
  std::optional<int64_t> sliding_window_num_frames;  ///< held when local_attn_size is unbounded
  std::optional<std::string> rope_cache_policy;      ///< `absolute` or `relativistic`

  int64_t width() const { return num_attention_heads * attention_head_dim; }
  int64_t patch_elements() const { return patch_size[0] * patch_size[1] * patch_size[2]; }
  bool has_text() const { return text_dim > 0; }
  /// Whether the cross attention has keys and values of their own for image tokens.
  bool has_image_branch() const { return added_kv_proj_dim.has_value() && !(is_game && is_causal); }
  /// Whether the cross attention has its plain keys and values: of text, or where there is no text
  /// of the image tokens.
  bool has_plain_cross_attention() const { return has_text() || !has_image_branch(); }
  /// Whether block `index` has an action module.
  bool has_action_module(int64_t index) const;

  bool operator==(const WanTransformerConfig&) const = default;
};

/// Reads the keys of a Diffusers config. Keys that Diffusers itself may leave out keep their
/// defaults above. Throws CheckpointError that starts with `where` and lists every fault: missing,
/// unknown, mistyped or unsupported values.
WanTransformerConfig parse_wan_transformer_config(const nlohmann::json& json,
                                                  const std::string& where);

/// Reads `path` (`transformer/config.json`). Throws CheckpointError for its contents, Error when it
/// cannot be read.
WanTransformerConfig read_wan_transformer_config(const std::filesystem::path& path);

/// Throws ConfigError unless the ranks of a sequence-parallel group, times those of a
/// tensor-parallel one, can share the heads, and the latter the features of the feed-forward.
void check_parallel_ranks(const WanTransformerConfig& config, int64_t sequence_ranks,
                          int64_t tensor_ranks);

/// `WanTransformer3DModel`, or what FastVideo calls such a network.
std::string class_name(const WanTransformerConfig& config);

/// What Diffusers writes for this config, `_class_name` included.
nlohmann::ordered_json to_json(const WanTransformerConfig& config);

}  // namespace zoetrope
