// Adapters of a Wan transformer: fused blocks against plain ones, and what is trained.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/base/error.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope {
namespace {

WanTransformerConfig small_config(bool with_image) {
  WanTransformerConfig config;
  config.num_attention_heads = 2;
  config.attention_head_dim = 12;
  config.in_channels = 4;
  config.out_channels = 4;
  config.text_dim = 10;
  config.freq_dim = 16;
  config.ffn_dim = 40;
  config.num_layers = 3;
  if (with_image) {
    config.image_dim = 7;
    config.added_kv_proj_dim = config.width();
  }
  return config;
}

struct LoraCase {
  const char* name;
  std::vector<std::string> target_modules;
  int64_t rank;
  double alpha;
  bool with_image;
  Checkpointing checkpointing;
};

/// A frozen network with random weights and adapters, B not zero.
std::unique_ptr<WanTransformer> make_network(const LoraCase& c, at::ScalarType dtype,
                                             Implementation implementation) {
  auto network = std::make_unique<WanTransformer>(
      small_config(c.with_image), ParameterStore::Options{at::kCPU, dtype, /*trainable=*/false});
  at::manual_seed(12);
  const auto fill = [](ParameterStore& parameters) {
    for (const TensorSpec& spec : parameters.specs()) {
      at::Tensor value = at::randn(spec.shape) * 0.1;
      if (spec.name.find("norm") != std::string::npos && spec.name.ends_with("weight")) value += 1;
      // bf16 networks get what they can represent, so that all compute the same function
      parameters.load({{spec.name, value.to(at::kBFloat16)}});
    }
  };
  fill(network->parameters());
  fill(network->add_adapters({c.rank, c.alpha, c.target_modules}).parameters());
  network->set_implementation(implementation);
  if (implementation == Implementation::kFastest) network->set_checkpointing(c.checkpointing);
  return network;
}

WanTransformerInputs make_inputs(const LoraCase& c) {
  at::manual_seed(11);
  const WanTransformerConfig config = small_config(c.with_image);
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW = at::randn({2, config.in_channels, 3, 4, 6});
  inputs.timestep = at::rand({2}) * 1000;
  inputs.text_BLE = at::randn({2, 20, config.text_dim});
  inputs.text_BLE.narrow(1, 9, 11).zero_();
  if (config.image_dim) inputs.image_BLE = at::randn({2, 5, *config.image_dim});
  return inputs;
}

at::Tensor run(WanTransformer& network, const WanTransformerInputs& inputs) {
  const at::Tensor output = network.forward(inputs);
  at::manual_seed(13);
  (output.to(at::kFloat) * at::randn(output.sizes())).sum().backward();
  return output.detach().to(at::kFloat);
}

double distance(WanTransformer& a, WanTransformer& b, const std::string& name) {
  const auto gradient = [&](WanTransformer& network) {
    return network.adapters()->parameters().at(name).gradient.to(at::kDouble);
  };
  return (gradient(a) - gradient(b)).norm().item<double>();
}

double total_norm(WanTransformer& network) {
  double total = 0;
  for (const ParameterGroup& group : network.adapters()->parameters().groups())
    total += group.flat_gradient.to(at::kDouble).square().sum().item<double>();
  return std::sqrt(total);
}

class LoraFusedAgainstPlain : public testing::TestWithParam<LoraCase> {};

TEST_P(LoraFusedAgainstPlain, OutputsAndGradientsAgree) {
  const LoraCase& c = GetParam();
  const auto plain = make_network(c, at::kFloat, Implementation::kPlain);
  const auto fused = make_network(c, at::kFloat, Implementation::kFastest);
  // Two micro-batches: the second must add to the gradients of the first.
  for (int round = 0; round < 2; ++round) {
    const at::Tensor expected = run(*plain, make_inputs(c));
    EXPECT_TENSOR_CLOSE(run(*fused, make_inputs(c)), expected, 1e-5);
  }
  const double total = total_norm(*plain);
  for (const TensorSpec& spec : plain->adapters()->parameters().specs()) {
    const auto& gradient = plain->adapters()->parameters().at(spec.name).gradient;
    const double norm = gradient.norm().item<double>();
    EXPECT_GT(norm, 1e-6 * total) << spec.name;
    EXPECT_LT(distance(*fused, *plain, spec.name), 1e-5 * norm + 1e-7 * total) << spec.name;
  }
}

TEST_P(LoraFusedAgainstPlain, RecomputedPlainBlocksGiveTheSameGradients) {
  const LoraCase& c = GetParam();
  const auto kept = make_network(c, at::kFloat, Implementation::kPlain);
  const auto recomputed = make_network(c, at::kFloat, Implementation::kPlain);
  recomputed->set_checkpointing(Checkpointing::kFull);
  EXPECT_TRUE(at::equal(run(*recomputed, make_inputs(c)), run(*kept, make_inputs(c))));
  for (const TensorSpec& spec : kept->adapters()->parameters().specs()) {
    EXPECT_EQ(distance(*recomputed, *kept, spec.name), 0.0) << spec.name;
  }
}

// In bf16 both implementations round; the fused one may not be further from the truth than the
// plain one.
TEST_P(LoraFusedAgainstPlain, Bf16IsAsNearToTheTruth) {
  const LoraCase& c = GetParam();
  const auto truth = make_network(c, at::kFloat, Implementation::kPlain);
  const auto plain = make_network(c, at::kBFloat16, Implementation::kPlain);
  const auto fused = make_network(c, at::kBFloat16, Implementation::kFastest);
  const at::Tensor expected = run(*truth, make_inputs(c));
  run(*plain, make_inputs(c));
  EXPECT_TENSOR_CLOSE(run(*fused, make_inputs(c)), expected, 3e-2);
  double fused_error = 0;
  double plain_error = 0;
  for (const TensorSpec& spec : truth->adapters()->parameters().specs()) {
    fused_error += std::pow(distance(*fused, *truth, spec.name), 2);
    plain_error += std::pow(distance(*plain, *truth, spec.name), 2);
  }
  EXPECT_LT(std::sqrt(fused_error), 1.5 * std::sqrt(plain_error));
  EXPECT_LT(std::sqrt(fused_error), 2e-2 * total_norm(*truth));
}

const std::vector<std::string> kAttention = {"to_q", "to_k", "to_v", "to_out", "k_proj", "v_proj"};

INSTANTIATE_TEST_SUITE_P(
    Cases, LoraFusedAgainstPlain,
    testing::Values(
        LoraCase{"Attention", kAttention, 4, 8, false, Checkpointing::kNone},
        LoraCase{"AttentionRecomputed", kAttention, 4, 4, false, Checkpointing::kFull},
        LoraCase{"Image", kAttention, 2, 1, true, Checkpointing::kNone},
        LoraCase{"FeedForward", {"ffn"}, 5, 10, false, Checkpointing::kNone},
        LoraCase{"FeedForwardRecomputed", {"ffn"}, 3, 3, false, Checkpointing::kFull},
        LoraCase{"OneOfQkv", {"attn1.to_k", "attn2.to_v"}, 4, 4, false, Checkpointing::kNone},
        LoraCase{"OutputOnly", {"proj_out"}, 4, 4, false, Checkpointing::kFull},
        LoraCase{"LastBlock", {"blocks.2."}, 36, 9, false, Checkpointing::kFull},
        LoraCase{"Everything", {"attn", "ffn", "proj_out"}, 7, 9, true, Checkpointing::kFull}),
    [](const auto& parameter) { return parameter.param.name; });

LoraCase attention_case() {
  return {"Attention", kAttention, 4, 8, false, Checkpointing::kNone};
}

TEST(LoraTransformer, StartsAsTheNetworkItself) {
  WanTransformer network(small_config(false), {at::kCPU, at::kFloat, false});
  initialize_wan_transformer(network.parameters(), 3);
  // the output projection starts at zero, which would make every network the same
  network.parameters().load({{"proj_out.weight", at::randn({16, 24})}});
  const WanTransformerInputs inputs = make_inputs(attention_case());
  at::NoGradGuard no_grad;
  const at::Tensor without = network.forward(inputs);
  KeyedRandomSource random(7);
  LoraAdapters& adapters = network.add_adapters({4, 8, kAttention});
  adapters.initialize(random);
  EXPECT_TRUE(at::equal(network.forward(inputs), without));
  adapters.parameters().load({{"blocks.1.attn1.to_v.lora_B.weight", at::ones({24, 4})}});
  EXPECT_FALSE(at::equal(network.forward(inputs), without));
}

TEST(LoraTransformer, BaseHasNeitherGradientsNorMasters) {
  const auto network = make_network(attention_case(), at::kBFloat16, Implementation::kFastest);
  run(*network, make_inputs(attention_case()));
  for (const ParameterGroup& group : network->parameters().groups()) {
    EXPECT_FALSE(group.flat_gradient.defined());
    EXPECT_FALSE(group.flat_master.defined());
  }
  for (const ParameterGroup& group : network->adapters()->parameters().groups()) {
    EXPECT_EQ(group.flat_master.scalar_type(), at::kFloat);
    EXPECT_FALSE(group.gradient_is_zero);
  }
}

TEST(LoraTransformer, RefusesASecondSetAndATrainableNetwork) {
  WanTransformer network(small_config(false), {at::kCPU, at::kFloat, false});
  network.add_adapters({4, 8, kAttention});
  EXPECT_THROW(network.add_adapters({4, 8, kAttention}), Error);
  WanTransformer trainable(small_config(false), {at::kCPU, at::kFloat, true});
  EXPECT_THROW(trainable.add_adapters({4, 8, kAttention}), Error);
}

}  // namespace
}  // namespace zoetrope
