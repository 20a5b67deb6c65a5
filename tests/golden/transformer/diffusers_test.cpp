// Outputs and gradients of whole networks against diffusers' WanTransformer3DModel.
#include "transformer_case.h"

namespace zoetrope::test {
namespace {

constexpr double kOutputTolerance = 1e-5;
constexpr double kGradientTolerance = 1e-4;

class DiffusersTransformer : public testing::TestWithParam<std::filesystem::path> {
 protected:
  DiffusersTransformer() : golden_(GetParam()) {
    network_ =
        load_transformer(golden_.folder() / golden_.json().at("folder").get<std::string>(), {});
    inputs_.hidden_BCTHW = leaf("hidden_states");
    inputs_.text_BLE = leaf("encoder_hidden_states");
    inputs_.timestep = golden_.tensor("input.timestep");
    if (golden_.contains("input.encoder_hidden_states_image")) {
      inputs_.image_BLE = leaf("encoder_hidden_states_image");
    }
  }

  at::Tensor leaf(const std::string& name) const {
    return golden_.tensor("input." + name).clone().set_requires_grad(true);
  }

  void expect_gradients() {
    double total = 0;
    for (const std::string& key : golden_.keys()) {
      if (key.starts_with("grad.")) total += golden_.tensor(key).square().sum().item<double>();
    }
    size_t num_compared = 0;
    for (const std::string& key : golden_.keys()) {
      if (!key.starts_with("grad.")) continue;
      if (is_rounding_noise(golden_.tensor(key), std::sqrt(total))) continue;
      EXPECT_TENSOR_CLOSE(network_->parameters().at(key.substr(5)).gradient, golden_.tensor(key),
                          kGradientTolerance)
          << key;
      ++num_compared;
    }
    EXPECT_GT(num_compared, network_->parameters().specs().size() / 2);
    EXPECT_TENSOR_CLOSE(inputs_.hidden_BCTHW.grad(), golden_.tensor("input_grad.hidden_states"),
                        kGradientTolerance);
    EXPECT_TENSOR_CLOSE(inputs_.text_BLE.grad(), golden_.tensor("input_grad.encoder_hidden_states"),
                        kGradientTolerance);
    if (inputs_.image_BLE.defined()) {
      EXPECT_TENSOR_CLOSE(inputs_.image_BLE.grad(),
                          golden_.tensor("input_grad.encoder_hidden_states_image"),
                          kGradientTolerance);
    }
  }

  GoldenCase golden_;
  std::unique_ptr<WanTransformer> network_;
  WanTransformerInputs inputs_;
};

TEST_P(DiffusersTransformer, OutputAndGradients) {
  const at::Tensor output = network_->forward(inputs_);
  EXPECT_TENSOR_CLOSE(output, golden_.tensor("output"), kOutputTolerance);
  (output * golden_.tensor("loss_weight")).mean().backward();
  expect_gradients();
}

TEST_P(DiffusersTransformer, OutputAndGradientsWithCheckpointing) {
  network_->set_checkpointing(Checkpointing::kFull);
  const at::Tensor output = network_->forward(inputs_);
  EXPECT_TENSOR_CLOSE(output, golden_.tensor("output"), kOutputTolerance);
  (output * golden_.tensor("loss_weight")).mean().backward();
  expect_gradients();
}

TEST_P(DiffusersTransformer, Bfloat16ComputeStaysNear) {
  auto network =
      load_transformer(golden_.folder() / "transformer", {at::kCPU, at::kBFloat16, true});
  const at::Tensor output = network->forward(inputs_);
  EXPECT_EQ(output.scalar_type(), at::kBFloat16);
  EXPECT_TENSOR_CLOSE(output.to(at::kFloat), golden_.tensor("output"), 3e-2);
}

INSTANTIATE_TEST_SUITE_P(Cases, DiffusersTransformer,
                         testing::ValuesIn(network_golden_folders("wan_transformer")),
                         golden_test_name);

}  // namespace
}  // namespace zoetrope::test
