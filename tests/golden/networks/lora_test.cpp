// Adapters that PEFT made and diffusers saved: outputs, gradients and merged weights on both
// implementations.
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/networks/lora/lora_file.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope::test {
namespace {

constexpr double kOutputTolerance = 1e-5;
constexpr double kGradientTolerance = 1e-4;

class LoraGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  LoraGolden()
      : golden_(GetParam()),
        folder_(golden_.folder() / golden_.json().at("folder").get<std::string>()),
        adapters_(
            read_lora_file(golden_.folder() / golden_.json().at("adapters").get<std::string>())) {}

  std::unique_ptr<WanTransformer> network() const {
    auto network = std::make_unique<WanTransformer>(
        read_wan_transformer_config(folder_ / "config.json"),
        ParameterStore::Options{at::kCPU, at::kFloat, /*trainable=*/false});
    network->parameters().load(WeightFolder(folder_).load_strict(network->parameters().specs()));
    const auto targets = golden_.json().at("target_modules").get<std::vector<std::string>>();
    load_lora_weights(network->add_adapters({golden_.json().at("rank").get<int64_t>(),
                                             golden_.json().at("alpha").get<double>(), targets}),
                      adapters_, "lora");
    return network;
  }

  void compare(WanTransformer& network) const {
    WanTransformerInputs inputs;
    inputs.hidden_BCTHW = golden_.tensor("input.hidden_states");
    inputs.text_BLE = golden_.tensor("input.encoder_hidden_states");
    inputs.timestep = golden_.tensor("input.timestep");
    if (golden_.contains("input.encoder_hidden_states_image"))
      inputs.image_BLE = golden_.tensor("input.encoder_hidden_states_image");
    const at::Tensor output = network.forward(inputs);
    EXPECT_TENSOR_CLOSE(output, golden_.tensor("output"), kOutputTolerance);
    (output * golden_.tensor("loss_weight")).mean().backward();
    size_t num_compared = 0;
    for (const std::string& key : golden_.keys()) {
      if (!key.starts_with("grad.")) continue;
      EXPECT_TENSOR_CLOSE(network.adapters()->parameters().at(key.substr(5)).gradient,
                          golden_.tensor(key), kGradientTolerance)
          << key;
      ++num_compared;
    }
    EXPECT_EQ(num_compared, network.adapters()->parameters().specs().size());
  }

  GoldenCase golden_;
  std::filesystem::path folder_;
  LoraWeights adapters_;
};

TEST_P(LoraGolden, PlainBlocks) {
  const auto plain = network();
  plain->set_implementation(Implementation::kPlain);
  compare(*plain);
}

TEST_P(LoraGolden, FastestBlocks) {
  compare(*network());
}

TEST_P(LoraGolden, FastestBlocksWithCheckpointing) {
  const auto recomputed = network();
  recomputed->set_checkpointing(Checkpointing::kFull);
  compare(*recomputed);
}

TEST_P(LoraGolden, MergedWeights) {
  const NamedTensors base = WeightFolder(folder_).load_strict(network()->parameters().specs());
  size_t num_merged = 0;
  for (const PendingTensor& pending : merged_weights(base, adapters_, at::kFloat)) {
    const std::string key = "merged." + pending.spec.name;
    if (!golden_.contains(key)) continue;
    EXPECT_TENSOR_CLOSE(pending.make(), golden_.tensor(key), 1e-6) << key;
    ++num_merged;
  }
  EXPECT_EQ(2 * num_merged, adapters_.tensors.size());
}

INSTANTIATE_TEST_SUITE_P(Cases, LoraGolden, testing::ValuesIn(network_golden_folders("lora")),
                         golden_test_name);

}  // namespace
}  // namespace zoetrope::test
