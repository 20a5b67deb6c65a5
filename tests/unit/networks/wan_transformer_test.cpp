#include "zoetrope/networks/wan_transformer/wan_transformer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/golden.h"
#include "support/small_network.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using test::small_network;

WanTransformerInputs inputs_for(const WanTransformerConfig& config,
                                at::IntArrayRef timestep_shape) {
  at::manual_seed(11);
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW = at::randn({2, config.in_channels, 3, 4, 6});
  inputs.timestep = at::rand(timestep_shape) * 1000;
  inputs.text_BLE = at::randn({2, 40, config.text_dim});
  // Zero-padded prompts of 5 and 9 tokens.
  inputs.text_BLE[0].narrow(0, 5, 35).zero_();
  inputs.text_BLE[1].narrow(0, 9, 31).zero_();
  if (config.image_dim) inputs.image_BLE = at::randn({2, 5, *config.image_dim});
  return inputs;
}

/// Random weights everywhere, so that every gradient is of a usual size.
void fill_randomly(ParameterStore& parameters) {
  at::manual_seed(12);
  for (const TensorSpec& spec : parameters.specs()) {
    at::Tensor value = at::randn(spec.shape) * 0.1;
    if (spec.name.find("norm") != std::string::npos && spec.name.ends_with("weight")) value += 1;
    parameters.load({{spec.name, value}});
  }
}

at::Tensor run(WanTransformer& network, const WanTransformerInputs& inputs) {
  at::Tensor output = network.forward(inputs);
  at::manual_seed(13);
  (output.to(at::kFloat) * at::randn(output.sizes())).sum().backward();
  return output.detach();
}

struct ImplementationCase {
  const char* name;
  bool with_image;
  std::vector<int64_t> timestep_shape;
  Checkpointing checkpointing;
};

class FusedAgainstPlain : public testing::TestWithParam<ImplementationCase> {};

WanTransformerConfig config_of(const ImplementationCase& c) {
  WanTransformerConfig config = small_network();
  if (c.with_image) {
    config.image_dim = 7;
    config.added_kv_proj_dim = config.width();
  }
  return config;
}

double distance(const ParameterStore& a, const ParameterStore& b, const std::string& name) {
  return (a.at(name).gradient.to(at::kDouble) - b.at(name).gradient.to(at::kDouble))
      .norm()
      .item<double>();
}

TEST_P(FusedAgainstPlain, OutputsAndGradientsAgree) {
  const ImplementationCase& c = GetParam();
  WanTransformer plain(config_of(c), {at::kCPU, at::kFloat, true});
  WanTransformer fused(config_of(c), {at::kCPU, at::kFloat, true});
  plain.set_implementation(Implementation::kPlain);
  fused.set_checkpointing(c.checkpointing);
  fill_randomly(plain.parameters());
  fill_randomly(fused.parameters());
  const WanTransformerInputs inputs = inputs_for(config_of(c), c.timestep_shape);
  // Two micro-batches: the second must add to the gradients of the first.
  for (int round = 0; round < 2; ++round) {
    const at::Tensor expected = run(plain, inputs);
    EXPECT_TENSOR_CLOSE(run(fused, inputs), expected, 1e-5);
  }
  double total = 0;
  for (const ParameterGroup& group : plain.parameters().groups()) {
    total += group.flat_gradient.square().sum().item<double>();
  }
  // Beside the relative bound, errors below 1e-7 of the whole gradient are rounding.
  for (const TensorSpec& spec : plain.parameters().specs()) {
    const double norm = plain.parameters().at(spec.name).gradient.norm().item<double>();
    EXPECT_LT(distance(fused.parameters(), plain.parameters(), spec.name),
              2e-5 * norm + 1e-7 * std::sqrt(total))
        << spec.name;
  }
}

// In bf16 both implementations round; the fused one may not be further from the truth than the
// plain one.
TEST_P(FusedAgainstPlain, Bf16IsAsNearToTheTruth) {
  const ImplementationCase& c = GetParam();
  WanTransformer truth(config_of(c), {at::kCPU, at::kFloat, true});
  WanTransformer plain(config_of(c), {at::kCPU, at::kBFloat16, true});
  WanTransformer fused(config_of(c), {at::kCPU, at::kBFloat16, true});
  truth.set_implementation(Implementation::kPlain);
  plain.set_implementation(Implementation::kPlain);
  fused.set_checkpointing(c.checkpointing);
  fill_randomly(plain.parameters());
  fill_randomly(fused.parameters());
  for (const TensorSpec& spec : truth.parameters().specs()) {
    truth.parameters().load({{spec.name, plain.parameters().value(spec.name).detach()}});
  }
  const WanTransformerInputs inputs = inputs_for(config_of(c), c.timestep_shape);
  const at::Tensor expected = run(truth, inputs);
  run(plain, inputs);
  EXPECT_TENSOR_CLOSE(run(fused, inputs), expected, 3e-2);
  double total = 0;
  double fused_error = 0;
  double plain_error = 0;
  for (const TensorSpec& spec : truth.parameters().specs()) {
    total += std::pow(truth.parameters().at(spec.name).gradient.norm().item<double>(), 2);
    fused_error += std::pow(distance(fused.parameters(), truth.parameters(), spec.name), 2);
    plain_error += std::pow(distance(plain.parameters(), truth.parameters(), spec.name), 2);
  }
  EXPECT_LT(std::sqrt(fused_error), 1.5 * std::sqrt(plain_error));
  EXPECT_LT(std::sqrt(fused_error), 2e-2 * std::sqrt(total));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, FusedAgainstPlain,
    testing::Values(ImplementationCase{"TextToVideo", false, {2}, Checkpointing::kNone},
                    ImplementationCase{"Image", true, {2}, Checkpointing::kNone},
                    ImplementationCase{"PerFrame", false, {2, 3}, Checkpointing::kNone},
                    ImplementationCase{"PerToken", false, {2, 18}, Checkpointing::kNone},
                    ImplementationCase{"Recomputed", true, {2}, Checkpointing::kFull}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(WanTransformer, GivesTheSameBitsTwice) {
  std::vector<at::Tensor> gradients;
  for (int i = 0; i < 2; ++i) {
    WanTransformer network(small_network(), {at::kCPU, at::kFloat, true});
    fill_randomly(network.parameters());
    run(network, inputs_for(small_network(), {2}));
    gradients.push_back(network.parameters().groups()[0].flat_gradient.clone());
  }
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
}

TEST(WanTransformer, FrozenNetworkStillPassesGradientsToItsInputs) {
  WanTransformer frozen(small_network(), {at::kCPU, at::kFloat, false});
  WanTransformer trained(small_network(), {at::kCPU, at::kFloat, true});
  fill_randomly(frozen.parameters());
  fill_randomly(trained.parameters());
  std::vector<at::Tensor> input_gradients;
  for (WanTransformer* network : {&frozen, &trained}) {
    WanTransformerInputs inputs = inputs_for(small_network(), {2});
    inputs.hidden_BCTHW.set_requires_grad(true);
    run(*network, inputs);
    input_gradients.push_back(inputs.hidden_BCTHW.grad());
  }
  EXPECT_TRUE(at::equal(input_gradients[0], input_gradients[1]));
}

TEST(WanTransformer, RefusesInputsThatDoNotFit) {
  WanTransformer network(small_network(), {at::kCPU, at::kFloat, false});
  WanTransformerInputs inputs = inputs_for(small_network(), {2});
  inputs.timestep = at::rand({2, 4});
  EXPECT_THROW(network.forward(inputs), c10::Error);
  inputs = inputs_for(small_network(), {2});
  inputs.hidden_BCTHW = at::randn({2, 4, 3, 5, 6});
  EXPECT_THROW(network.forward(inputs), c10::Error);
  inputs = inputs_for(small_network(), {2});
  inputs.text_BLE = at::randn({2, 9, 11});
  EXPECT_THROW(network.forward(inputs), c10::Error);
  inputs = inputs_for(small_network(), {2});
  inputs.image_BLE = at::randn({2, 9, 11});
  EXPECT_THROW(network.forward(inputs), c10::Error);
}

TEST(WanTransformerInitialisation, DependsOnTheSeedAndHasTheStatedScales) {
  WanTransformerConfig config = small_network();
  config.attention_head_dim = 64;
  WanTransformer network(config, {});
  WanTransformer same(config, {});
  WanTransformer other(config, {});
  initialize_wan_transformer(network.parameters(), 1);
  initialize_wan_transformer(same.parameters(), 1);
  initialize_wan_transformer(other.parameters(), 2);
  const auto value = [](const WanTransformer& n, const std::string& name) {
    return n.parameters().at(name).value.detach();
  };
  const std::string weight = "blocks.1.attn1.to_q.weight";
  EXPECT_TRUE(at::equal(value(network, weight), value(same, weight)));
  EXPECT_FALSE(at::equal(value(network, weight), value(other, weight)));
  const double bound = std::sqrt(6.0 / 256.0);
  EXPECT_LE(value(network, weight).abs().max().item<double>(), bound);
  EXPECT_NEAR(value(network, weight).std().item<double>(), bound / std::sqrt(3.0), 0.02 * bound);
  EXPECT_NEAR(value(network, "blocks.0.scale_shift_table").std().item<double>(),
              1 / std::sqrt(128.0), 0.01);
  EXPECT_NEAR(
      value(network, "condition_embedder.time_embedder.linear_2.weight").std().item<double>(), 0.02,
      1e-3);
  EXPECT_EQ(value(network, "proj_out.weight").abs().sum().item<double>(), 0.0);
  EXPECT_EQ(value(network, "blocks.0.norm2.weight").sum().item<double>(), 128.0);
  EXPECT_EQ(value(network, "blocks.0.ffn.net.2.bias").abs().sum().item<double>(), 0.0);
}

TEST(WanTransformerConfig, SurvivesItsJson) {
  WanTransformerConfig config = small_network();
  config.image_dim = 20;
  config.added_kv_proj_dim = config.width();
  EXPECT_EQ(parse_wan_transformer_config(nlohmann::json(to_json(config)), "config.json"), config);
}

TEST(WanTransformerConfig, ListsEveryFaultAtOnce) {
  nlohmann::json json = to_json(small_network());
  json["qk_norm"] = "layer_norm";
  json["num_layers"] = "two";
  json["ffn_dimm"] = 3;
  json.erase("text_dim");
  json["attention_head_dim"] = 13;
  json["image_dim"] = 5;
  try {
    parse_wan_transformer_config(json, "transformer/config.json");
    FAIL() << "accepted";
  } catch (const CheckpointError& error) {
    const std::string message = error.what();
    for (const char* part :
         {"transformer/config.json: ", "'qk_norm' must be \"rms_norm_across_heads\"",
          "'num_layers' must be a positive integer, but is \"two\"",
          "'ffn_dimm' must be a key of WanTransformer3DModel, but is not; did you mean 'ffn_dim'?",
          "'text_dim' must be given, but is missing",
          "'attention_head_dim' must be even, but is 13",
          "'image_dim' and 'added_kv_proj_dim' must both be given"}) {
      EXPECT_NE(message.find(part), std::string::npos) << part << "\nin " << message;
    }
  }
}

}  // namespace
}  // namespace zoetrope
