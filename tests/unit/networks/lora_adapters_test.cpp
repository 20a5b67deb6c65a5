#include "zoetrope/networks/lora/lora_adapters.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"

namespace zoetrope {
namespace {

const std::vector<std::string> kDefaultTargets = {
    "q_proj", "k_proj", "v_proj", "o_proj", "to_q",
    "to_k",   "to_v",   "to_out", "to_qkv", "to_gate_compress"};

ParameterStore network_parameters(bool with_image) {
  WanTransformerConfig config;
  config.num_attention_heads = 2;
  config.attention_head_dim = 8;
  config.text_dim = 10;
  config.freq_dim = 12;
  config.ffn_dim = 40;
  config.num_layers = 2;
  if (with_image) {
    config.image_dim = 7;
    config.added_kv_proj_dim = 16;
  }
  return {wan_transformer_parameter_specs(config), {at::kCPU, at::kFloat, false}};
}

std::vector<std::string> adapted_layers(bool with_image, std::vector<std::string> targets) {
  std::vector<std::string> layers;
  const ParameterStore base = network_parameters(with_image);
  for (const ParameterGroupSpec& group : lora_parameter_specs(base, {4, 4, std::move(targets)})) {
    for (const TensorSpec& spec : group.parameters) {
      const size_t suffix = spec.name.find(".lora_A.weight");
      if (suffix != std::string::npos) layers.push_back(spec.name.substr(0, suffix));
    }
  }
  return layers;
}

// What FastVideo's substring rule selects among its own names of these layers.
TEST(LoraAdapters, DefaultTargetsAreTheAttentionProjections) {
  EXPECT_EQ(adapted_layers(false, kDefaultTargets).size(), 16U);
  EXPECT_THAT(adapted_layers(false, kDefaultTargets),
              testing::IsSupersetOf({"blocks.0.attn1.to_q", "blocks.0.attn1.to_out.0",
                                     "blocks.1.attn2.to_k", "blocks.1.attn2.to_out.0"}));
  EXPECT_THAT(adapted_layers(true, kDefaultTargets),
              testing::IsSupersetOf({"blocks.0.attn2.add_k_proj", "blocks.1.attn2.add_v_proj"}));
}

TEST(LoraAdapters, TargetsMayBeOfEitherNaming) {
  EXPECT_THAT(adapted_layers(false, {"blocks.1.to_q"}),
              testing::ElementsAre("blocks.1.attn1.to_q"));
  EXPECT_THAT(adapted_layers(false, {"ffn.fc_in"}),
              testing::ElementsAre("blocks.0.ffn.net.0.proj", "blocks.1.ffn.net.0.proj"));
  EXPECT_THAT(adapted_layers(false, {"blocks.0.ffn.net.2"}),
              testing::ElementsAre("blocks.0.ffn.net.2"));
  EXPECT_THAT(adapted_layers(false, {"proj_out"}), testing::ElementsAre("proj_out"));
}

TEST(LoraAdapters, EmbeddersNormsAndConvolutionsAreNever) {
  for (const char* target : {"embedder", "time_proj", "patch_embedding", "norm", "nothing"}) {
    try {
      adapted_layers(true, {target});
      FAIL() << target << " matched";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("lora.target_modules: must match"));
      EXPECT_THAT(error.what(), testing::HasSubstr(target));
    }
  }
}

TEST(LoraAdapters, RefusesARankOfZero) {
  const ParameterStore base = network_parameters(false);
  EXPECT_THROW(lora_parameter_specs(base, {0, 4, {"to_q"}}), ConfigError);
}

TEST(LoraAdapters, InitialValuesDependOnSeedAndNameAlone) {
  const ParameterStore base = network_parameters(false);
  LoraAdapters all(base, {64, 64, {"to_q", "ffn"}});
  LoraAdapters some(base, {64, 64, {"blocks.1.attn1.to_q"}});
  LoraAdapters other(base, {64, 64, {"blocks.1.attn1.to_q"}});
  KeyedRandomSource random(5);
  KeyedRandomSource other_random(6);
  all.initialize(random);
  some.initialize(random);
  other.initialize(other_random);
  const std::string name = "blocks.1.attn1.to_q.lora_A.weight";
  EXPECT_TRUE(at::equal(all.parameters().at(name).value.detach(),
                        some.parameters().at(name).value.detach()));
  EXPECT_FALSE(at::equal(some.parameters().at(name).value.detach(),
                         other.parameters().at(name).value.detach()));
  EXPECT_FALSE(at::equal(all.parameters().at(name).value.detach(),
                         all.parameters().at("blocks.0.attn1.to_q.lora_A.weight").value.detach()));
  // uniform in +-1/sqrt(in_features)
  const at::Tensor a = all.parameters().at("blocks.0.ffn.net.2.lora_A.weight").value.detach();
  const double bound = 1 / std::sqrt(40.0);
  EXPECT_LE(a.abs().max().item<double>(), bound);
  EXPECT_GT(a.abs().max().item<double>(), 0.99 * bound);
  EXPECT_NEAR(a.std().item<double>(), bound / std::sqrt(3.0), 0.03 * bound);
  EXPECT_EQ(all.parameters()
                .at("blocks.0.ffn.net.2.lora_B.weight")
                .value.detach()
                .abs()
                .sum()
                .item<double>(),
            0.0);
}

TEST(LoraAdapters, FindGivesThePairAndItsScale) {
  const ParameterStore base = network_parameters(false);
  const LoraAdapters adapters(base, {4, 6, {"to_q"}});
  const auto found = adapters.find("blocks.0.attn1.to_q");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->a->value.sizes(), at::IntArrayRef({4, 16}));
  EXPECT_EQ(found->b->value.sizes(), at::IntArrayRef({16, 4}));
  EXPECT_DOUBLE_EQ(found->scale, 1.5);
  EXPECT_FALSE(adapters.find("blocks.0.attn1.to_k").has_value());
  EXPECT_TRUE(adapters.adapts("blocks.1"));
  EXPECT_FALSE(adapters.adapts("root"));
}

}  // namespace
}  // namespace zoetrope
