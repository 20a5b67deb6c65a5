#include "zoetrope/networks/wan_game/action_config.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "zoetrope/networks/config_reader.h"

namespace zoetrope {
namespace {

int64_t rotary_channels(const ActionConfig& config) {
  const auto& dims = config.mouse_qk_dim_list;
  return std::accumulate(dims.begin(), dims.end(), int64_t{0});
}

void check_heads(const ActionConfig& config, const char* key, int64_t width, ConfigReader& reader) {
  if (width == config.heads_num * rotary_channels(config)) return;
  reader.fault(
      fmt::format("'{}' must be heads_num x the sum of mouse_qk_dim_list = {} x {}, but is {}", key,
                  config.heads_num, rotary_channels(config), width));
}

void check_rows(const char* key, int64_t width, ConfigReader& reader) {
  if (width < 1) reader.fault(fmt::format("'{}' must be at least 1, but is {}", key, width));
}

void check_together(const ActionConfig& config, const ActionSurroundings& network,
                    ConfigReader& reader) {
  if (!config.enable_mouse && !config.enable_keyboard)
    reader.fault("'enable_mouse' or 'enable_keyboard' must be true, but both are false");
  if (config.enable_mouse) {
    check_rows("mouse_dim_in", config.mouse_dim_in, reader);
    check_heads(config, "mouse_hidden_dim", config.mouse_hidden_dim, reader);
  }
  if (config.enable_keyboard) {
    check_rows("keyboard_dim_in", config.keyboard_dim_in, reader);
    check_heads(config, "keyboard_hidden_dim", config.keyboard_hidden_dim, reader);
  }
  if (config.mouse_qk_dim_list[0] % 2 != 0 || rotary_channels(config) % 2 != 0)
    reader.fault("'mouse_qk_dim_list' must begin with an even number and have an even sum");
  const auto too_large = [&](int64_t block) { return block >= network.num_layers; };
  if (std::any_of(config.blocks.begin(), config.blocks.end(), too_large))
    reader.fault("blocks", fmt::format("must be below num_layers = {}", network.num_layers));
}

}  // namespace

ActionConfig parse_action_config(const nlohmann::json& json, const ActionSurroundings& network,
                                 ConfigReader& reader) {
  ActionConfig config;
  ConfigReader action(json, "action_config");
  // The published default is for 30 blocks.
  std::erase_if(config.blocks, [&](int64_t block) { return block >= network.num_layers; });
  action.indices("blocks", config.blocks);
  action.boolean("enable_mouse", config.enable_mouse);
  action.boolean("enable_keyboard", config.enable_keyboard);
  action.positive("heads_num", config.heads_num, false);
  action.positive("hidden_size", config.hidden_size, false);
  action.only("img_hidden_size", network.width);
  action.not_negative("keyboard_dim_in", config.keyboard_dim_in, false);
  action.not_negative("keyboard_hidden_dim", config.keyboard_hidden_dim, false);
  action.not_negative("mouse_dim_in", config.mouse_dim_in, false);
  action.not_negative("mouse_hidden_dim", config.mouse_hidden_dim, false);
  action.three_integers("mouse_qk_dim_list", 0, config.mouse_qk_dim_list);
  action.only("rope_dim_list", config.mouse_qk_dim_list);
  action.only("patch_size", network.patch_size);
  action.boolean("qk_norm", config.qk_norm);
  action.boolean("qkv_bias", config.qkv_bias);
  action.positive_real("rope_theta", config.rope_theta);
  action.positive("vae_time_compression_ratio", config.vae_time_compression_ratio, false);
  action.positive("windows_size", config.windows_size, false);
  action.refuse_unknown_keys();
  if (action.faults().empty()) check_together(config, network, action);
  for (const std::string& fault : action.faults()) reader.fault("action_config: " + fault);
  return config;
}

nlohmann::ordered_json to_json(const ActionConfig& config, const ActionSurroundings& network) {
  nlohmann::ordered_json json = {{"blocks", config.blocks},
                                 {"enable_mouse", config.enable_mouse},
                                 {"enable_keyboard", config.enable_keyboard},
                                 {"heads_num", config.heads_num},
                                 {"hidden_size", config.hidden_size},
                                 {"img_hidden_size", network.width},
                                 {"keyboard_dim_in", config.keyboard_dim_in},
                                 {"keyboard_hidden_dim", config.keyboard_hidden_dim},
                                 {"mouse_dim_in", config.mouse_dim_in},
                                 {"mouse_hidden_dim", config.mouse_hidden_dim},
                                 {"mouse_qk_dim_list", config.mouse_qk_dim_list},
                                 {"patch_size", network.patch_size},
                                 {"qk_norm", config.qk_norm},
                                 {"qkv_bias", config.qkv_bias},
                                 {"rope_dim_list", config.mouse_qk_dim_list},
                                 {"vae_time_compression_ratio", config.vae_time_compression_ratio},
                                 {"windows_size", config.windows_size}};
  json["rope_theta"] = config.rope_theta;
  return json;
}

}  // namespace zoetrope
