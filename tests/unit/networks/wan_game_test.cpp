// Game networks as a whole: samples of a batch and timesteps of frames are independent, actions
// reach the frames that they may reach, and their configs.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/small_network.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"
#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"

namespace zoetrope::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr double kTolerance = 1e-5;
constexpr int64_t kFrames = 5;

WanTransformerConfig game_config(bool is_causal) {
  WanTransformerConfig config = small_network();
  make_game_network(config, {0, 1}, is_causal);
  config.in_channels = 9;
  config.added_kv_proj_dim = config.width();
  return config;
}

class GameNetwork : public testing::TestWithParam<bool> {
 protected:
  GameNetwork() : network_(game_config(GetParam()), {}) {
    at::manual_seed(3);
    network_.parameters().load(random_weights(network_.parameters().specs()));
    noisy_BCTHW_ = at::randn({2, 4, kFrames, 4, 6});
    timestep_BT_ = at::rand({2, kFrames}) * 1000;
    conditioning_.image_embedding_BLD = at::randn({2, 7, 10});
    conditioning_.image_latents_BTCHW = at::randn({2, kFrames, 5, 4, 6});
    conditioning_.keyboard_BFK = at::randn({2, 4 * (kFrames - 1) + 1, 3});
    conditioning_.mouse_BF2 = at::randn({2, 4 * (kFrames - 1) + 1, 2});
  }

  at::Tensor forward(const at::Tensor& noisy_BCTHW, const at::Tensor& timestep,
                     const Conditioning& conditioning) {
    const at::NoGradGuard no_grad;
    const WanTransformerInputs inputs = conditioned_inputs(
        network_.config(), at::kFloat, noisy_BCTHW, timestep, conditioning, /*start_frame=*/0);
    if (!GetParam()) return network_.forward(inputs);
    return block_causal_forward(network_, inputs, {.num_frames_per_block = 1});
  }

  WanTransformer network_;
  at::Tensor noisy_BCTHW_;
  at::Tensor timestep_BT_;
  Conditioning conditioning_;
};

TEST_P(GameNetwork, SamplesOfABatchAreIndependent) {
  const at::Tensor both = forward(noisy_BCTHW_, timestep_BT_, conditioning_);
  for (int64_t i = 0; i < 2; ++i) {
    const auto row = [&](const at::Tensor& tensor) { return tensor.narrow(0, i, 1); };
    const at::Tensor one = forward(row(noisy_BCTHW_), row(timestep_BT_),
                                   {.image_embedding_BLD = row(conditioning_.image_embedding_BLD),
                                    .image_latents_BTCHW = row(conditioning_.image_latents_BTCHW),
                                    .keyboard_BFK = row(conditioning_.keyboard_BFK),
                                    .mouse_BF2 = row(conditioning_.mouse_BF2)});
    EXPECT_TENSOR_CLOSE(both.narrow(0, i, 1), one, kTolerance);
  }
}

TEST_P(GameNetwork, EqualTimestepsOfFramesAreThatOfTheClip) {
  const at::Tensor timestep_B = at::tensor({900.3, 20.7}, at::kFloat);
  const at::Tensor per_frame = timestep_B.unsqueeze(1).expand({2, kFrames});
  EXPECT_TENSOR_CLOSE(forward(noisy_BCTHW_, per_frame, conditioning_),
                      forward(noisy_BCTHW_, timestep_B, conditioning_), kTolerance);
  EXPECT_FALSE(is_close(forward(noisy_BCTHW_, timestep_BT_, conditioning_),
                        forward(noisy_BCTHW_, timestep_B, conditioning_), 1e-2));
}

TEST_P(GameNetwork, ActionsReachTheFramesAfterThem) {
  const at::Tensor before = forward(noisy_BCTHW_, timestep_BT_, conditioning_);
  // Rows 8 to 11 come before latent frame 3, which is of pixel frames 9 to 12.
  for (at::Tensor* rows : {&conditioning_.keyboard_BFK, &conditioning_.mouse_BF2}) {
    const at::Tensor kept = rows->clone();
    rows->narrow(1, 8, 4).add_(1.0);
    const at::Tensor after = forward(noisy_BCTHW_, timestep_BT_, conditioning_);
    *rows = kept;
    EXPECT_FALSE(at::equal(after.narrow(2, 3, 1), before.narrow(2, 3, 1)));
    EXPECT_FALSE(at::equal(after.narrow(2, 4, 1), before.narrow(2, 4, 1)));
    EXPECT_EQ(at::equal(after.narrow(2, 0, 3), before.narrow(2, 0, 3)), GetParam());
  }
}

TEST_P(GameNetwork, WithoutActionsModulesArePassedBy) {
  conditioning_.keyboard_BFK = conditioning_.mouse_BF2 = at::Tensor();
  const at::Tensor before = forward(noisy_BCTHW_, timestep_BT_, conditioning_);
  network_.parameters().load({{"blocks.0.action_model.proj_mouse.weight", at::randn({24, 24})}});
  EXPECT_TRUE(at::equal(forward(noisy_BCTHW_, timestep_BT_, conditioning_), before));
}

TEST_P(GameNetwork, RefusesTooFewRowsAndOneActionAlone) {
  const auto error = [&] {
    return error_of([&] { forward(noisy_BCTHW_, timestep_BT_, conditioning_); });
  };
  const at::Tensor keyboard = conditioning_.keyboard_BFK;
  conditioning_.keyboard_BFK = keyboard.narrow(1, 0, 15);
  EXPECT_THAT(error(), HasSubstr("the keyboard must have at least 16 rows, one for each pixel "
                                 "frame, but has 15"));
  conditioning_.keyboard_BFK = at::Tensor();
  EXPECT_THAT(error(), HasSubstr("the keyboard must be [B, F, 3]"));
}

INSTANTIATE_TEST_SUITE_P(Networks, GameNetwork, testing::Bool(), [](const auto& parameter) {
  return parameter.param ? "Causal" : "Bidirectional";
});

TEST(GameConfig, IsReadAsItWasWritten) {
  for (const bool is_causal : {false, true}) {
    const WanTransformerConfig config = game_config(is_causal);
    const auto json = nlohmann::json::parse(to_json(config).dump());
    EXPECT_EQ(parse_wan_transformer_config(json, "config.json"), config);
    EXPECT_EQ(json.at("_class_name"),
              is_causal ? "CausalMatrixGame2WanModel" : "MatrixGame2WanModel");
  }
  WanTransformerConfig without = game_config(true);
  without.action.reset();
  EXPECT_EQ(parse_wan_transformer_config(nlohmann::json::parse(to_json(without).dump()), ""),
            without);
}

TEST(GameConfig, FaultsAreNamedTogether) {
  auto json = nlohmann::json::parse(to_json(game_config(true)).dump());
  json["action_config"]["blocks"] = {0, 2};
  json["action_config"]["mouse_hidden_dim"] = 20;
  EXPECT_THAT(error_of([&] { parse_wan_transformer_config(json, "config.json"); }),
              AllOf(HasSubstr("'blocks' must be below num_layers = 2, but is [0,2]"),
                    HasSubstr("'mouse_hidden_dim' must be heads_num x the sum of "
                              "mouse_qk_dim_list = 2 x 12, but is 20")));
  json["action_config"] = {{"windows_siz", 3}};
  EXPECT_THAT(error_of([&] { parse_wan_transformer_config(json, "config.json"); }),
              HasSubstr("action_config: 'windows_siz' must be a key of action_config, but is not; "
                        "did you mean 'windows_size'?"));
  json.erase("action_config");
  EXPECT_THAT(error_of([&] { parse_wan_transformer_config(json, "config.json"); }),
              HasSubstr("'action_config' must be given"));
}

}  // namespace
}  // namespace zoetrope::test
