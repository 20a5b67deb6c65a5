// Bytes that activations are said to take, against those that tensors really take.
#include "zoetrope/networks/wan_transformer/wan_transformer_cost.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/networks/wan_transformer/wan_transformer.h"
#include "zoetrope/tensor/memory_count.h"

namespace zoetrope {
namespace {

WanTransformerConfig wide_network() {
  WanTransformerConfig config;
  config.num_attention_heads = 4;
  config.attention_head_dim = 32;
  config.ffn_dim = 384;
  config.num_layers = 4;
  config.text_dim = 32;
  return config;
}

struct Measured {
  double kept = 0;  ///< when the forward pass has ended
};

Measured measure(at::ScalarType dtype, Implementation implementation, bool checkpointing) {
  count_cpu_memory();
  WanTransformer network(wide_network(), {.compute_dtype = dtype});
  initialize_wan_transformer(network.parameters(), 1);
  network.set_implementation(implementation);
  if (checkpointing) network.set_checkpointing(Checkpointing::kFull);
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW = at::randn({2, 16, 4, 16, 16});
  inputs.timestep = at::full({2}, 500.0);
  inputs.text_BLE = at::randn({2, 32, 32});
  network.forward(inputs);  // tables
  const auto before = static_cast<double>(cpu_tensor_bytes());
  const at::Tensor velocity = network.forward(inputs);
  return {static_cast<double>(cpu_tensor_bytes()) - before};
}

PassShape shape_of_measure() {
  return {.batch = 2, .num_tokens = 256, .num_heads = 4, .text_tokens = 32};
}

struct Case {
  const char* name;
  at::ScalarType dtype;
  Implementation implementation;
  BlockKind kind;
};

class ActivationBytesOf : public testing::TestWithParam<Case> {};

TEST_P(ActivationBytesOf, a_graph) {
  const auto& [name, dtype, implementation, kind] = GetParam();
  const int64_t element_bytes = dtype == at::kFloat ? 4 : 2;
  const ActivationBytes bytes =
      activation_bytes(wide_network(), shape_of_measure(), element_bytes, kind);
  const double expected = 4 * (bytes.block_input + bytes.block) + bytes.head;
  EXPECT_NEAR(measure(dtype, implementation, false).kept / expected, 1.0, 0.06);
}

TEST_P(ActivationBytesOf, a_recomputed_graph) {
  const auto& [name, dtype, implementation, kind] = GetParam();
  const int64_t element_bytes = dtype == at::kFloat ? 4 : 2;
  const ActivationBytes bytes =
      activation_bytes(wide_network(), shape_of_measure(), element_bytes, kind);
  const double expected = 4 * bytes.block_input + bytes.head;
  EXPECT_NEAR(measure(dtype, implementation, true).kept / expected, 1.0, 0.15);
}

INSTANTIATE_TEST_SUITE_P(
    All, ActivationBytesOf,
    testing::Values(Case{"FusedFp32", at::kFloat, Implementation::kFastest, BlockKind::kFused},
                    Case{"FusedBf16", at::kBFloat16, Implementation::kFastest, BlockKind::kFused},
                    Case{"PlainFp32", at::kFloat, Implementation::kPlain, BlockKind::kPlain},
                    Case{"PlainBf16", at::kBFloat16, Implementation::kPlain, BlockKind::kPlain}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace zoetrope
