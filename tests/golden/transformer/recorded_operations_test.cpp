// Every operation of a forward pass, its gradients and its RoPE tables against recordings of
// FastVideo's network.
#include <string>

#include <fmt/format.h>

#include "recorded_names.h"
#include "transformer_case.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"

namespace zoetrope::test {
namespace {

constexpr double kOutputTolerance = 1e-5;
constexpr double kGradientTolerance = 1e-4;
constexpr double kTableTolerance = 1e-6;

const std::vector<std::string> kClasses = {"WanTransformer3DModel", "MatrixGame2WanModel",
                                           "CausalMatrixGame2WanModel"};

/// The key of a recorded input: of the case, or else shared by the cases of the folder.
std::string input_key(const GoldenCase& golden, const std::string& name, const std::string& input) {
  const std::string own = name + ".in." + input;
  return golden.contains(own) ? own : "in." + input;
}

/// A case that this network can run: one pass whose masks, if any, are those of its config.
bool is_known(const GoldenCase& golden, const std::string& name,
              const nlohmann::json& description) {
  if (!description.contains("model") || golden.contains(name + ".frame_mask")) return false;
  const bool has_inputs = golden.contains(input_key(golden, name, "hidden_states")) &&
                          golden.contains(name + ".in.timestep");
  if (!has_inputs && !description.contains("inputs")) return false;
  return is_network_of(
      golden.folder().parent_path() / description.at("model").get<std::string>() / "transformer",
      kClasses);
}

std::vector<std::filesystem::path> known_folders() {
  return golden_folders_where(golden_root(), [](const GoldenCase& golden) {
    if (!golden.json().contains("cases")) return false;
    for (const auto& [name, description] : golden.json().at("cases").items()) {
      if (is_known(golden, name, description)) return true;
    }
    return false;
  });
}

class RecordedOperations : public testing::TestWithParam<std::filesystem::path> {
 protected:
  RecordedOperations() : golden_(GetParam()) {}

  std::unique_ptr<WanTransformer> network(const nlohmann::json& description) const {
    return load_transformer(
        golden_.folder().parent_path() / description.at("model").get<std::string>() / "transformer",
        {});
  }

  at::Tensor input(const std::string& name, const std::string& input) const {
    const std::string key = input_key(golden_, name, input);
    return golden_.contains(key) ? golden_.tensor(key) : at::Tensor();
  }

  /// `<case>.in.*`; text tokens padded with zeros to the 512 that the recording attended to.
  WanTransformerInputs inputs(const std::string& name) const {
    WanTransformerInputs inputs;
    inputs.hidden_BCTHW = input(name, "hidden_states");
    inputs.timestep = input(name, "timestep");
    const at::Tensor text = input(name, "encoder_hidden_states_live");
    if (text.defined()) inputs.text_BLE = at::constant_pad_nd(text, {0, 0, 0, 512 - text.size(1)});
    inputs.image_BLE = input(name, "encoder_hidden_states_image");
    inputs.actions = {input(name, "keyboard_cond"), input(name, "mouse_cond")};
    return inputs;
  }

  static at::Tensor forward(WanTransformer& network, const WanTransformerInputs& inputs) {
    if (!network.config().is_causal) return network.forward(inputs);
    return block_causal_forward(network, inputs,
                                causal_attention_of(network.config(), std::nullopt));
  }

  void expect_gradients(const std::string& name, const nlohmann::json& summary,
                        const ParameterStore& parameters) {
    double total = 0;
    for (const auto& [parameter, sums] : summary.items()) {
      if (!sums.is_null()) total += sums.at("sq").get<double>();
    }
    for (const auto& [parameter, sums] : summary.items()) {
      if (sums.is_null()) continue;
      const at::Tensor gradient = parameters.at(parameter).gradient.to(at::kDouble);
      const double norm = std::sqrt(sums.at("sq").get<double>());
      if (norm < 1e-6 * std::sqrt(total)) continue;
      EXPECT_NEAR(gradient.norm().item<double>(), norm, kGradientTolerance * norm) << parameter;
      EXPECT_NEAR(gradient.sum().item<double>(), sums.at("sum").get<double>(),
                  kGradientTolerance * sums.at("abssum").get<double>())
          << parameter;
    }
    const std::string prefix = name + ".grad.";
    for (const std::string& key : golden_.keys()) {
      if (!key.starts_with(prefix)) continue;
      EXPECT_TENSOR_CLOSE(parameters.at(key.substr(prefix.size())).gradient, golden_.tensor(key),
                          kGradientTolerance)
          << key;
    }
  }

  GoldenCase golden_;
};

TEST_P(RecordedOperations, ForwardOperationsAndGradients) {
  for (const auto& [name, description] : golden_.json().at("cases").items()) {
    if (!is_known(golden_, name, description) || !description.contains("grad_summary")) continue;
    SCOPED_TRACE(name);
    auto transformer = network(description);
    size_t num_compared = 0;
    transformer->set_observer([&, prefix = name + "."](const std::string& path,
                                                       const at::Tensor& value) {
      const std::string key = prefix + recorded_name(path);
      if (!golden_.contains(key)) return;
      at::Tensor recorded = golden_.tensor(key);
      // There, copies of the first row stand in front, and rows that no frame sees behind.
      if (key.find("keyboard_embed") != std::string::npos)
        recorded = recorded.narrow(1, transformer->config().action->window_rows(), value.size(1));
      EXPECT_TENSOR_CLOSE(as_recorded(value, recorded), recorded, kOutputTolerance) << key;
      ++num_compared;
    });
    const at::Tensor output = forward(*transformer, inputs(name));
    EXPECT_GE(num_compared, 25U);
    EXPECT_TENSOR_CLOSE(output, golden_.tensor(name + ".out"), kOutputTolerance);
    (output * golden_.tensor(name + ".loss_weight")).mean().backward();
    expect_gradients(name, description.at("grad_summary"), transformer->parameters());
  }
}

TEST_P(RecordedOperations, FusedForwardAndGradients) {
  for (const auto& [name, description] : golden_.json().at("cases").items()) {
    if (!is_known(golden_, name, description) || !description.contains("grad_summary")) continue;
    SCOPED_TRACE(name);
    auto transformer = network(description);
    const at::Tensor output = forward(*transformer, inputs(name));
    EXPECT_TENSOR_CLOSE(output, golden_.tensor(name + ".out"), kOutputTolerance);
    (output * golden_.tensor(name + ".loss_weight")).mean().backward();
    expect_gradients(name, description.at("grad_summary"), transformer->parameters());
  }
}

TEST_P(RecordedOperations, TimestepPerToken) {
  for (const auto& [name, description] : golden_.json().at("cases").items()) {
    if (!is_known(golden_, name, description) || !name.ends_with("_pertoken")) continue;
    SCOPED_TRACE(name);
    const std::string base = name.substr(0, name.size() - std::string("_pertoken").size());
    WanTransformerInputs one = inputs(base);
    one.hidden_BCTHW = one.hidden_BCTHW.narrow(0, 0, 1);
    one.text_BLE = one.text_BLE.narrow(0, 0, 1);
    one.timestep = golden_.tensor(name + ".in.timestep");
    EXPECT_TENSOR_CLOSE(network(description)->forward(one), golden_.tensor(name + ".out"),
                        kOutputTolerance);
  }
}

TEST_P(RecordedOperations, RotaryTables) {
  for (const auto& [name, description] : golden_.json().at("cases").items()) {
    if (!is_known(golden_, name, description) || !golden_.contains(name + ".in.hidden_states"))
      continue;
    const auto transformer = network(description);
    const auto& patch = transformer->config().patch_size;
    const at::Tensor hidden = golden_.tensor(name + ".in.hidden_states");
    for (const std::string& key : golden_.keys()) {
      if (!key.starts_with("rope") || !key.ends_with(".cos")) continue;
      const std::string table = key.substr(0, key.size() - 4);
      const size_t start = table.find("start");
      const TokenGrid grid{hidden.size(2) / patch[0], hidden.size(3) / patch[1],
                           hidden.size(4) / patch[2],
                           start == std::string::npos ? 0 : std::stoll(table.substr(start + 5))};
      const RotaryTables ours = make_rotary_tables(transformer->config(), grid, at::kCPU);
      // The recording repeats each angle for both channels of its pair.
      EXPECT_TENSOR_CLOSE(ours.cos.repeat_interleave(2, 1), golden_.tensor(key), kTableTolerance)
          << key;
      EXPECT_TENSOR_CLOSE(ours.sin.repeat_interleave(2, 1), golden_.tensor(table + ".sin"),
                          kTableTolerance)
          << key;
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RecordedOperations);
INSTANTIATE_TEST_SUITE_P(Cases, RecordedOperations, testing::ValuesIn(known_folders()),
                         golden_test_name);

}  // namespace
}  // namespace zoetrope::test
