// The shape of the modules through which keyboard and mouse steer a video transformer, as
// `action_config` of its `transformer/config.json` states it. Knows no tensors. Source: Matrix-Game
// 2.0 (He et al., 2508.13009); FastVideo, configs/models/dits/matrixgame2.py.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace zoetrope {

class ConfigReader;

struct ActionConfig {
  /// Blocks of a causal network that have a module. In a bidirectional one all have.
  std::vector<int64_t> blocks = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  bool enable_mouse = true;
  bool enable_keyboard = true;
  int64_t heads_num = 16;
  int64_t hidden_size = 128;  ///< width of one embedded row of keys
  int64_t keyboard_dim_in = 4;
  int64_t keyboard_hidden_dim = 1024;
  int64_t mouse_dim_in = 2;
  int64_t mouse_hidden_dim = 1024;
  /// Channels of a head that positions in time, row and column rotate; rows and columns are always
  /// 0, so that only the first rotate.
  std::array<int64_t, 3> mouse_qk_dim_list = {8, 28, 28};
  bool qk_norm = true;
  bool qkv_bias = false;
  double rope_theta = 256;
  int64_t vae_time_compression_ratio = 4;  ///< pixel frames of a latent frame
  int64_t windows_size = 3;                ///< latent frames whose actions one latent frame sees

  /// Rows of actions that one latent frame sees.
  int64_t window_rows() const { return vae_time_compression_ratio * windows_size; }

  bool operator==(const ActionConfig&) const = default;
};

/// What an action module takes over from its network.
struct ActionSurroundings {
  int64_t width = 0;
  std::array<int64_t, 3> patch_size = {};
  int64_t num_layers = 0;
};

/// Reads `json`, an object; adds what is wrong with it to the faults of `reader`, with
/// `action_config.` in front.
ActionConfig parse_action_config(const nlohmann::json& json, const ActionSurroundings& network,
                                 ConfigReader& reader);

nlohmann::ordered_json to_json(const ActionConfig& config, const ActionSurroundings& network);

}  // namespace zoetrope
