// What a plan needs to know of a run: its ranks, its clips, its networks and what the method asks
// of them. Plain values, made from a config without weights, GPUs or ranks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "zoetrope/config/network_passes.h"
#include "zoetrope/distributed/mesh.h"
#include "zoetrope/networks/lora/lora_adapters.h"
#include "zoetrope/networks/wan_transformer/causal_attention.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_cost.h"

namespace zoetrope {

struct RoleDescription {
  std::string name;
  WanTransformerConfig network;
  std::string network_source = {};  ///< where its shape comes from
  bool trainable = false;
  std::optional<LoraOptions> lora = {};  ///< adapters that are trained instead of the network
  bool checkpointing = false;
  bool has_average = false;  ///< EMA
  /// Of a causal role.
  std::optional<CausalAttention> attention = {};
  int64_t cache_frames = 0;  ///< capacity of a causal role's cache

  bool trains_network() const { return trainable && !lora; }
};

struct RunDescription {
  MeshSizes mesh;
  int64_t batch_size = 1;
  int64_t accumulation = 1;
  int64_t num_frames = 0;                 ///< latent
  int64_t num_rows = 0, num_columns = 0;  ///< of latents
  int64_t text_tokens = 512;
  int64_t image_tokens = 257;
  int64_t compute_bytes = 2;
  int64_t reduce_bytes = 4;
  bool deterministic = false;
  BlockKind block_kind = BlockKind::kPlain;
  std::vector<RoleDescription> roles;
  config::MethodWork work;
  /// Parameters of the text encoder, which is in memory once before the first step; 0 when no
  /// prompt has to be embedded.
  int64_t text_encoder_parameters = 0;
  bool validates = false;
  int64_t num_checkpoints_kept = 0;  ///< 0: all
  int64_t num_checkpoints = 0;       ///< that the run writes

  const RoleDescription& role(const std::string& name) const;
  int64_t tokens_per_frame(const RoleDescription& role) const;
};

/// A network's parameters.
struct NetworkSize {
  int64_t parameters = 0;  ///< of all ranks, without padding
  // Elements, padded for the run's shards, of one of the ranks that split its layers.
  int64_t blocks = 0;           ///< all of them
  int64_t block = 0;            ///< the largest
  int64_t root = 0;             ///< what is in no block
  int64_t whole_in_blocks = 0;  ///< what each of these ranks has whole, without padding

  int64_t elements() const { return blocks + root; }
};

NetworkSize base_size(const RunDescription& run, const RoleDescription& role);
/// Of what the role trains: the network or the adapters; throws Error for a frozen role.
NetworkSize trained_size(const RunDescription& run, const RoleDescription& role);

/// What one call of the network sees of `passes`.
struct CallShape {
  PassShape shape;
  double num_calls = 0;  ///< of the network, in a micro-batch
};

/// The calls of `passes`: of blocks the mean one.
CallShape call_shape(const RunDescription& run, const config::NetworkPasses& passes);

}  // namespace zoetrope
