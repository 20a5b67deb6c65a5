// The Wan image-to-video role: what it makes of the data's image conditions, and its network's
// inputs against a recording of FastVideo's network.
#include "zoetrope/models/wan/wan_i2v_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/golden.h"
#include "zoetrope/base/error.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kFrames = 3;

class WanI2VModelTest : public testing::Test {
 protected:
  WanI2VModelTest() {
    context_.random = &random_;
    context_.num_latent_frames = kFrames;
    context_.num_height = 32;
    context_.num_width = 48;
    config_.init_from = (reference_root() / "_models/wan_i2v").string();
    at::manual_seed(3);
    raw_.vae_latent_BCTHW = at::randn({2, 16, kFrames + 1, 4, 6});
    raw_.text_embedding_BLD = at::randn({2, 512, 32});
    raw_.text_attention_mask_BL = at::ones({2, 512});
    raw_.others["clip_feature"] = at::randn({2, 9, 20});
    raw_.others["first_frame_latent"] = at::randn({2, 16, kFrames + 1, 4, 6});
    for (const char* id : {"first", "second"}) raw_.info.emplace_back().id = id;
    raw_.sample_indices = {0, 1};
  }

  TrainingBatch prepare(WanI2VModel& model, LatentsSource source = LatentsSource::kData) const {
    model.init_preprocessors();
    return model.prepare_batch(raw_, source);
  }

  KeyedRandomSource random_{4};
  ModelContext context_;
  WanModelConfig config_;
  Batch raw_;
};

TEST_F(WanI2VModelTest, ConditionsOnTheFirstFrame) {
  WanI2VModel model(config_, context_);
  EXPECT_EQ(model.data_type(), "i2v");
  const Conditioning conditional = prepare(model).conditional;
  EXPECT_TRUE(at::equal(conditional.image_embedding_BLD, raw_.others.at("clip_feature")));
  const at::Tensor& image = conditional.image_latents_BTCHW;
  ASSERT_EQ(image.sizes(), at::IntArrayRef({2, kFrames, 20, 4, 6}));
  EXPECT_TRUE(at::equal(image.narrow(2, 4, 16).transpose(1, 2),
                        raw_.others.at("first_frame_latent").narrow(2, 0, kFrames)));
  EXPECT_TRUE(image.narrow(1, 0, 1).narrow(2, 0, 4).eq(1.0).all().item<bool>());
  EXPECT_TRUE(image.narrow(1, 1, kFrames - 1).narrow(2, 0, 4).eq(0.0).all().item<bool>());
}

TEST_F(WanI2VModelTest, GuidanceKeepsTheImage) {
  WanI2VModel model(config_, context_);
  const at::Tensor negative_1LD = at::randn({1, 512, 32});
  model.set_negative_text(negative_1LD);
  const TrainingBatch batch = prepare(model);
  EXPECT_TRUE(
      at::equal(batch.unconditional.image_latents_BTCHW, batch.conditional.image_latents_BTCHW));
  EXPECT_TRUE(
      at::equal(batch.unconditional.image_embedding_BLD, batch.conditional.image_embedding_BLD));
  EXPECT_TRUE(at::equal(batch.unconditional.text_embedding_BLD, negative_1LD.expand({2, -1, -1})));
}

TEST_F(WanI2VModelTest, LatentsWithoutDataHaveTheChannelsOfTheVideo) {
  WanI2VModel model(config_, context_);
  EXPECT_EQ(prepare(model, LatentsSource::kZeros).latents_BTCHW.sizes(),
            at::IntArrayRef({2, kFrames, 16, 4, 6}));
}

TEST_F(WanI2VModelTest, PredictsAsTheRecordedNetwork) {
  const GoldenCase golden(reference_root() / "c07b_fwd_i2v");
  WanI2VModel model(config_, context_);
  const at::Tensor input_BTCHW = golden.tensor("i2v.in.hidden_states").transpose(1, 2);
  const at::Tensor text_BLD = golden.tensor("i2v.in.encoder_hidden_states_live");
  Conditioning conditioning;
  conditioning.text_embedding_BLD =
      at::constant_pad_nd(text_BLD, {0, 0, 0, 512 - text_BLD.size(1)});
  conditioning.image_embedding_BLD = golden.tensor("i2v.in.encoder_hidden_states_image");
  conditioning.image_latents_BTCHW = input_BTCHW.narrow(2, 16, 20);
  at::NoGradGuard no_grad;
  const at::Tensor noisy_BTCHW = input_BTCHW.narrow(2, 0, 16);
  const at::Tensor timestep_B = golden.tensor("i2v.in.timestep");
  const at::Tensor expected_BTCHW = golden.tensor("i2v.out").transpose(1, 2);
  EXPECT_TENSOR_CLOSE(model.predict_noise(noisy_BTCHW, timestep_B, conditioning), expected_BTCHW,
                      1e-5);
  EXPECT_TENSOR_CLOSE(
      model.denoising_network()(noisy_BTCHW.transpose(1, 2), timestep_B, conditioning),
      expected_BTCHW.transpose(1, 2), 1e-5);
}

TEST_F(WanI2VModelTest, NamesDataWithoutImages) {
  WanI2VModel model(config_, context_);
  raw_.others.erase("clip_feature");
  EXPECT_THAT(error_of([&] { prepare(model); }),
              AllOf(HasSubstr("sample 'first'"), HasSubstr("clip_feature")));
}

TEST_F(WanI2VModelTest, RefusesATextToVideoNetwork) {
  config_.init_from = (reference_root() / "_models/wan_a").string();
  EXPECT_THAT(error_of([&] { WanI2VModel(config_, context_); }),
              AllOf(HasSubstr("36 input channels"), HasSubstr("use WanModel")));
}

TEST_F(WanI2VModelTest, TrainsAdapters) {
  config_.lora.enable = true;
  config_.lora.rank = 2;
  WanI2VModel model(config_, context_);
  const TrainingBatch batch = prepare(model);
  const at::Tensor loss =
      model.predict_noise(batch.noisy_latents_BTCHW, batch.timesteps_B, batch.conditional)
          .square()
          .mean();
  model.backward(loss, 1);
  double sum = 0.0;
  for (const ParameterGroup& group : model.parameters().groups())
    sum += group.flat_gradient.abs().sum().item<double>();
  EXPECT_GT(sum, 0.0);
}

}  // namespace
}  // namespace zoetrope::test
