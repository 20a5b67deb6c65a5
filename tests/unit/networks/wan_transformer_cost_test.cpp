// Bytes that activations are said to take, against those that tensors really take.
#include "zoetrope/networks/wan_transformer/wan_transformer_cost.h"

#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/distributed/fake_groups.h"
#include "zoetrope/kernels/packed_matmul.h"
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

struct Case {
  const char* name;
  at::ScalarType dtype;
  BlockKind kind;
  int64_t sequence_ranks = 1;
  int64_t tensor_ranks = 1;

  int64_t element_bytes() const { return dtype == at::kFloat ? 4 : 2; }
};

/// The first of `size` ranks, without the others.
GroupPointer first_of(int64_t size) {
  std::vector<int64_t> ranks(static_cast<size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return size == 1 ? nullptr : fake_groups()("ranks", ranks, 0);
}

/// Bytes that a forward pass keeps for the backward pass.
double measure_kept(const Case& measured, bool checkpointing) {
  count_cpu_memory();
  WanTransformer network(wide_network(), {.compute_dtype = measured.dtype},
                         first_of(measured.tensor_ranks));
  network.set_sequence_group(first_of(measured.sequence_ranks));
  initialize_wan_transformer(network.parameters(), 1);
  network.set_implementation(measured.kind == BlockKind::kFused ? Implementation::kFastest
                                                                : Implementation::kPlain);
  if (checkpointing) network.set_checkpointing(Checkpointing::kFull);
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW = at::randn({2, 16, 4, 16, 16});
  inputs.timestep = at::full({2}, 500.0);
  inputs.text_BLE = at::randn({2, 32, 32});
  network.forward(inputs);  // tables
  const auto before = static_cast<double>(cpu_tensor_bytes());
  const at::Tensor velocity = network.forward(inputs);
  return static_cast<double>(cpu_tensor_bytes()) - before;
}

ActivationBytes planned(const Case& measured) {
  const PassShape shape = {.batch = 2,
                           .num_tokens = 256 / measured.sequence_ranks,
                           .text_tokens = 32,
                           .sequence_ranks = measured.sequence_ranks,
                           .tensor_ranks = measured.tensor_ranks};
  return activation_bytes(wide_network(), shape, measured.element_bytes(), measured.kind);
}

class ActivationBytesOf : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto element =
        GetParam().dtype == at::kFloat ? kernels::Element::kFp32 : kernels::Element::kBf16;
    if (GetParam().kind == BlockKind::kFused && !kernels::has_packed_matmul(element))
      GTEST_SKIP() << "this processor lacks the packed kernel";
  }
};

TEST_P(ActivationBytesOf, a_graph) {
  const ActivationBytes bytes = planned(GetParam());
  const double expected = 4 * (bytes.block_input + bytes.block) + bytes.head;
  EXPECT_NEAR(measure_kept(GetParam(), false) / expected, 1.0, 0.06);
}

TEST_P(ActivationBytesOf, a_recomputed_graph) {
  const ActivationBytes bytes = planned(GetParam());
  const double expected = 4 * bytes.block_input + bytes.head;
  EXPECT_NEAR(measure_kept(GetParam(), true) / expected, 1.0, 0.15);
}

INSTANTIATE_TEST_SUITE_P(All, ActivationBytesOf,
                         testing::Values(Case{"FusedFp32", at::kFloat, BlockKind::kFused},
                                         Case{"FusedBf16", at::kBFloat16, BlockKind::kFused},
                                         Case{"FusedSequence", at::kBFloat16, BlockKind::kFused, 2},
                                         Case{"PlainFp32", at::kFloat, BlockKind::kPlain},
                                         Case{"PlainBf16", at::kBFloat16, BlockKind::kPlain},
                                         Case{"PlainSequence", at::kFloat, BlockKind::kPlain, 2},
                                         Case{"TensorFp32", at::kFloat, BlockKind::kPlain, 1, 2},
                                         Case{"TensorBf16", at::kBFloat16, BlockKind::kPlain, 1, 4},
                                         Case{"TensorAndSequence", at::kFloat, BlockKind::kPlain, 2,
                                              2}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace zoetrope
