// Roles with a game network: what prepare_batch takes from the data and refuses, streaming with
// actions, adapters, and the folder that is exported.
#include "zoetrope/models/wan_game/wan_game_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/models/wan_game/wan_game_causal_model.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kFrames = 8;
constexpr int64_t kRows = 4 * (kFrames - 1) + 1;

class WanGame : public testing::Test {
 protected:
  WanGame() {
    context_.random = &random_;
    context_.num_latent_frames = kFrames;
    context_.num_height = 32;
    context_.num_width = 48;
    config_.init_from = (reference_root() / "_models/matrixgame2_base").string();
    causal_config_.init_from = (reference_root() / "_models/matrixgame2_causal").string();
    at::manual_seed(2);
    raw_.vae_latent_BCTHW = at::randn({2, 16, kFrames + 1, 4, 6});
    raw_.others["clip_feature"] = at::randn({2, 257, 20});
    raw_.others["first_frame_latent"] = at::randn({2, 16, kFrames + 1, 4, 6});
    raw_.others["keyboard_cond"] = at::randn({2, kRows + 4, 4});
    raw_.others["mouse_cond"] = at::randn({2, kRows + 4, 2});
    for (const char* id : {"first", "second"}) {
      raw_.info.emplace_back();
      raw_.info.back().id = id;
      raw_.sample_indices.push_back(static_cast<int64_t>(raw_.sample_indices.size()));
    }
  }

  TrainingBatch prepare(ModelBase& model) const {
    model.init_preprocessors();
    return model.prepare_batch(raw_, LatentsSource::kData);
  }

  std::string error() const {
    WanGameModel model(config_, context_);
    return error_of([&] { prepare(model); });
  }

  at::Tensor& column(const char* name) { return raw_.others.at(name); }

  KeyedRandomSource random_{4};
  ModelContext context_;
  WanModelConfig config_;
  WanCausalModelConfig causal_config_;
  Batch raw_;
};

TEST_F(WanGame, TakesTheClipsPartOfTheData) {
  WanGameModel model(config_, context_);
  const TrainingBatch batch = prepare(model);
  EXPECT_EQ(model.data_type(), "matrixgame2");
  EXPECT_TRUE(at::equal(batch.conditional.image_embedding_BLD, column("clip_feature")));
  EXPECT_TRUE(
      at::equal(batch.conditional.keyboard_BFK, column("keyboard_cond").narrow(1, 0, kRows)));
  EXPECT_TRUE(at::equal(batch.conditional.mouse_BF2, column("mouse_cond").narrow(1, 0, kRows)));
  const at::Tensor& image = batch.conditional.image_latents_BTCHW;
  EXPECT_EQ(image.sizes(), (std::vector<int64_t>{2, kFrames, 20, 4, 6}));
  EXPECT_TRUE(at::equal(image.narrow(2, 4, 16),
                        column("first_frame_latent").narrow(2, 0, kFrames).transpose(1, 2)));
  EXPECT_TRUE(image.narrow(2, 0, 4).select(1, 0).eq(1).all().item<bool>());
  EXPECT_TRUE(image.narrow(2, 0, 4).narrow(1, 1, kFrames - 1).eq(0).all().item<bool>());
  EXPECT_TRUE(batch.unconditional.keyboard_BFK.is_same(batch.conditional.keyboard_BFK));
  EXPECT_FALSE(batch.conditional.text_embedding_BLD.defined());
}

TEST_F(WanGame, TakesLatentsThatHaveAMaskAndEndsShortOnesWithZeros) {
  WanGameModel model(config_, context_);
  column("first_frame_latent") = at::randn({2, 20, 1, 4, 6});
  const at::Tensor image = prepare(model).conditional.image_latents_BTCHW;
  EXPECT_TRUE(at::equal(image.select(1, 0), column("first_frame_latent").select(2, 0)));
  EXPECT_TRUE(image.narrow(1, 1, kFrames - 1).eq(0).all().item<bool>());
}

TEST_F(WanGame, LeavesOutSurplusColumnsThatAreZero) {
  WanGameModel model(config_, context_);
  const at::Tensor keys = column("keyboard_cond");
  column("keyboard_cond") = at::constant_pad_nd(keys, {0, 2});
  EXPECT_TRUE(at::equal(prepare(model).conditional.keyboard_BFK, keys.narrow(1, 0, kRows)));
  column("keyboard_cond")[1][3][5] = 1;
  EXPECT_THAT(error(), AllOf(HasSubstr("sample 'second'"),
                             HasSubstr("'keyboard_cond' is [33, 6], but the network takes the "
                                       "first 4 columns, so the others must be zero")));
}

TEST_F(WanGame, RefusesDataThatDoesNotFitAndNamesTheSample) {
  column("mouse_cond") = at::randn({2, kRows, 1});
  EXPECT_THAT(error(), AllOf(HasSubstr("sample 'first'"), HasSubstr("'mouse_cond' must be of "
                                                                    "width 2")));
  column("mouse_cond") = at::randn({2, kRows - 1, 2});
  EXPECT_THAT(error(), HasSubstr("'mouse_cond' must have a row for each of 29 pixel frames, but is "
                                 "[28, 2]"));
  raw_.others.erase("mouse_cond");
  EXPECT_THAT(error(),
              HasSubstr("must have 'mouse_cond', which the network takes, but it is empty"));
  column("clip_feature") = at::randn({2, 257, 24});
  EXPECT_THAT(error(),
              HasSubstr("'clip_feature' must be of width 20 (image_dim), but is [257, 24]"));
}

TEST_F(WanGame, StreamsToTheSameResult) {
  context_.local_attn_size = 5;
  context_.sink_size = 1;
  causal_config_.init_from = (reference_root() / "_models/matrixgame2_causal_nowin").string();
  causal_config_.num_frames_per_block = 2;
  WanGameCausalModel model(causal_config_, context_);
  const TrainingBatch batch = prepare(model);
  const at::NoGradGuard no_grad;
  const at::Tensor timestep = at::tensor({900.0F, 300.5F, 41.0F, 999.0F})
                                  .repeat_interleave(2)
                                  .unsqueeze(0)
                                  .expand({2, kFrames});
  const at::Tensor& noisy = batch.noisy_latents_BTCHW;
  const at::Tensor whole = model.predict_noise(noisy, timestep, batch.conditional);
  std::vector<at::Tensor> chunks;
  for (int64_t begin = 0; begin < kFrames; begin += 2) {
    const at::Tensor chunk = noisy.narrow(1, begin, 2);
    const at::Tensor chunk_timestep = timestep.narrow(1, begin, 2);
    chunks.push_back(model.predict_noise_streaming(chunk, chunk_timestep, batch.conditional,
                                                   {.cur_start_frame = begin}));
    model.predict_noise_streaming(chunk, chunk_timestep, batch.conditional,
                                  {.store_kv = true, .cur_start_frame = begin});
  }
  EXPECT_TENSOR_CLOSE(at::cat(chunks, 1), whole, 1e-5);
  const StreamingNetwork stream = model.streaming_network(kFrames);
  const at::Tensor first = stream.velocity(noisy.narrow(1, 0, 2).transpose(1, 2),
                                           timestep.select(1, 0), batch.conditional, {});
  EXPECT_TENSOR_CLOSE(first.transpose(1, 2), chunks[0], 1e-5);
}

TEST_F(WanGame, ExportsAFolderThatGivesTheSame) {
  const TemporaryFolder folder;
  WanGameModel model(config_, context_);
  const TrainingBatch batch = prepare(model);
  model.export_pipeline(folder / "out", model.parameters().tensors());
  config_.init_from = (folder / "out").string();
  WanGameModel again(config_, context_);
  const at::NoGradGuard no_grad;
  const auto predict = [&](ModelBase& role) {
    return role.predict_noise(batch.noisy_latents_BTCHW, batch.timesteps_B, batch.conditional);
  };
  EXPECT_TRUE(at::equal(predict(again), predict(model)));
  const WeightFolder original(reference_root() / "_models/matrixgame2_base/transformer");
  const WeightFolder exported(folder / "out/transformer");
  EXPECT_EQ(exported.names(), original.names()) << "FastVideo insists on unused tensors, too";
}

TEST_F(WanGame, ACausalRoleExportsACausalNetwork) {
  const TemporaryFolder folder;
  WanGameCausalModel model(causal_config_, context_);
  // As a bidirectional network without keys and values for the image, which has the same tensors.
  const auto source = folder / "bidirectional";
  model.export_pipeline(source, model.parameters().tensors());
  std::ifstream file(source / "transformer/config.json");
  auto json = nlohmann::json::parse(file);
  json["_class_name"] = "MatrixGame2WanModel";
  json["added_kv_proj_dim"] = nullptr;
  std::ofstream(source / "transformer/config.json") << json;
  causal_config_.init_from = source.string();
  WanGameCausalModel from_bidirectional(causal_config_, context_);
  from_bidirectional.export_pipeline(folder / "out", from_bidirectional.parameters().tensors());
  EXPECT_TRUE(read_wan_transformer_config(folder / "out/transformer/config.json").is_causal);
  std::ifstream index_file(folder / "out/model_index.json");
  EXPECT_EQ(nlohmann::json::parse(index_file)["transformer"][1], "CausalMatrixGame2WanModel");
}

TEST_F(WanGame, AdaptersReachTheActionModules) {
  config_.lora.enable = true;
  config_.lora.rank = 2;
  config_.lora.target_modules = {"t_qkv", "mouse_attn_q"};
  WanGameModel model(config_, context_);
  const TrainingBatch batch = prepare(model);
  model.predict_noise(batch.noisy_latents_BTCHW, batch.timesteps_B, batch.conditional)
      .sum()
      .backward();
  EXPECT_EQ(model.parameters().specs().size(), 8U);
  for (const TensorSpec& spec : model.parameters().specs()) {
    if (!spec.name.ends_with("lora_B.weight")) continue;  // the others begin with no gradient
    EXPECT_GT(model.parameters().at(spec.name).gradient.abs().max().item<double>(), 0) << spec.name;
  }
  EXPECT_EQ(model.checkpoint_name("blocks.0.action_model.t_qkv.lora_A.weight"),
            "blocks.0.action_model.t_qkv.lora_A");
  EXPECT_EQ(model.checkpoint_name("patch_embedding.proj.weight"), "patch_embedding.proj.weight");
}

TEST_F(WanGame, RefusesANetworkThatNothingSteers) {
  config_.init_from = (reference_root() / "_models/wan_a").string();
  EXPECT_THAT(error_of([&] { WanGameModel model(config_, context_); }),
              HasSubstr("must hold a network that actions steer"));
}

}  // namespace
}  // namespace zoetrope::test
