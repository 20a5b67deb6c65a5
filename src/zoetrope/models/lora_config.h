// `models.<role>.lora`: low-rank adapters of a role. Plain values; knows no network. Source:
// FastVideo train/utils/lora.py (names and defaults); init_from is our own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "zoetrope/config/schema.h"
#include "zoetrope/networks/lora/lora_adapters.h"

namespace zoetrope {

struct LoraConfig {
  bool enable = false;
  std::optional<int64_t> rank;
  std::optional<double> alpha;
  std::vector<std::string> target_modules = {
      "q_proj", "k_proj", "v_proj", "o_proj", "to_q",
      "to_k",   "to_v",   "to_out", "to_qkv", "to_gate_compress"};
  std::optional<std::string> init_from;

  static void describe(config::Schema<LoraConfig>& schema);

  /// For an enabled config.
  LoraOptions options() const;
};

}  // namespace zoetrope
