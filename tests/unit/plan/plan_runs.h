// Runs for tests of the plan.
#pragma once

#include "zoetrope/plan/run_description.h"

namespace zoetrope::test {

/// A small network.
inline WanTransformerConfig small_network() {
  WanTransformerConfig network;
  network.num_attention_heads = 4;
  network.attention_head_dim = 32;
  network.ffn_dim = 256;
  network.num_layers = 3;
  network.text_dim = 64;
  return network;
}

inline RunDescription fine_tuning(const WanTransformerConfig& network = small_network()) {
  RunDescription run;
  run.num_frames = 21;
  run.num_rows = 60;
  run.num_columns = 104;
  run.roles = {{.name = "student", .network = network, .trainable = true}};
  run.work.passes = {{.role = "student", .purpose = "loss", .differentiable = true}};
  return run;
}

/// Wan 2.1 14B.
inline WanTransformerConfig large_network() {
  return {};
}

inline RunDescription self_forcing(const WanTransformerConfig& network = small_network()) {
  using Kind = config::NetworkPasses::Kind;
  RunDescription run = fine_tuning(network);
  run.roles.front().attention = CausalAttention{};
  run.roles.front().cache_frames = run.num_frames;
  run.roles.push_back({.name = "teacher", .network = network});
  run.roles.push_back({.name = "critic", .network = network, .trainable = true});
  run.work.passes = {{.role = "student",
                      .purpose = "rollout",
                      .kind = Kind::kBlocks,
                      .num_passes = 2,
                      .block_frames = 3},
                     {.role = "student",
                      .purpose = "last",
                      .kind = Kind::kBlocks,
                      .differentiable = true,
                      .block_frames = 3},
                     {.role = "teacher", .purpose = "score", .rows = 2},
                     {.role = "critic", .purpose = "loss", .differentiable = true}};
  return run;
}

}  // namespace zoetrope::test
