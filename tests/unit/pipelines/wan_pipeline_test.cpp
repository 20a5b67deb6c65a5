#include "zoetrope/pipelines/wan_pipeline.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

// Data of one point per text: the text's first value. The velocity that leads there is exact.
at::Tensor exact_velocity(const at::Tensor& noisy, const at::Tensor& timestep_B,
                          const Conditioning& conditioning) {
  const at::Tensor target =
      conditioning.text_embedding_BLD.select(1, 0).select(1, 0).reshape({-1, 1, 1, 1, 1});
  return (noisy - target) / (timestep_B / 1000.0).reshape({-1, 1, 1, 1, 1});
}

// Conditions of text alone.
Conditioning text_condition(const at::Tensor& text_BLD) {
  Conditioning conditioning;
  conditioning.text_embedding_BLD = text_BLD;
  return conditioning;
}

GuidedConditioning make_text() {
  return {text_condition(at::full({2, 4, 3}, 0.5)), text_condition(at::full({1, 4, 3}, -0.25))};
}

TEST(WanPipelineTest, WithoutGuidanceOnlyConditionalRowsRun) {
  int64_t rows_seen = 0;
  const auto velocity = [&](const at::Tensor& x, const at::Tensor& t, const Conditioning& text) {
    rows_seen = x.size(0);
    return exact_velocity(x, t, text);
  };
  const at::Tensor noise = at::randn({2, 3, 2, 4, 4});
  for (SamplerKind sampler : {SamplerKind::kUniPc, SamplerKind::kFlowMatchEuler}) {
    const SamplingOptions options{
        .sampler = sampler, .num_steps = 6, .guidance_scale = 1.0, .flow_shift = 5.0};
    GuidedConditioning text = make_text();
    text.unconditional = {};
    const at::Tensor latents = sample_latents(velocity, noise, text, options);
    EXPECT_EQ(rows_seen, 2);
    // UniPC truncates timesteps, so the last step ends near the point, not on it.
    EXPECT_LT((latents - 0.5).abs().max().item<double>(), 0.02);
  }
}

TEST(WanPipelineTest, GuidanceExtrapolatesFromTheNegativeText) {
  int64_t rows_seen = 0;
  const auto velocity = [&](const at::Tensor& x, const at::Tensor& t, const Conditioning& text) {
    rows_seen = x.size(0);
    return exact_velocity(x, t, text);
  };
  const SamplingOptions options{.sampler = SamplerKind::kFlowMatchEuler,
                                .num_steps = 4,
                                .guidance_scale = 3.0,
                                .flow_shift = 3.0};
  const at::Tensor latents =
      sample_latents(velocity, at::randn({2, 3, 2, 4, 4}), make_text(), options);
  EXPECT_EQ(rows_seen, 4);
  // -0.25 + 3 (0.5 + 0.25): guidance moves the point that the flow leads to.
  EXPECT_LT((latents - 2.0).abs().max().item<double>(), 1e-3);
}

TEST(WanPipelineTest, TheSameNoiseGivesTheSameVideo) {
  const at::Tensor noise = at::randn({2, 3, 2, 4, 4});
  int64_t last_done = 0;
  const auto count = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 5);
    EXPECT_EQ(done, ++last_done);
  };
  const SamplingOptions options{.num_steps = 5};
  const at::Tensor first = sample_latents(exact_velocity, noise, make_text(), options, count);
  const at::Tensor second = sample_latents(exact_velocity, noise, make_text(), options);
  EXPECT_TRUE(at::equal(first, second));
  EXPECT_EQ(last_done, 5);
}

TEST(WanPipelineTest, ASamplerServesOneRunAfterAnother) {
  const GuidedRows guided(make_text(), 3.0, 2);
  const auto velocity = [&](const at::Tensor& rows, const at::Tensor& timestep_B) {
    return exact_velocity(rows, timestep_B, guided.conditioning()) + rows.sin();
  };
  for (SamplerKind kind : {SamplerKind::kUniPc, SamplerKind::kFlowMatchEuler}) {
    const SamplingOptions options{.sampler = kind, .num_steps = 5, .few_step = {}};
    const auto sampler = make_sampler(options);
    for (int run = 0; run < 3; ++run) {
      const at::Tensor noise = at::randn({2, 3, 2, 4, 4});
      const at::Tensor alone = run_sampler(*make_sampler(options), guided, velocity, noise);
      EXPECT_TRUE(at::equal(run_sampler(*sampler, guided, velocity, noise), alone));
    }
    sampler->step(at::ones({1}), 0, at::ones({1}));
    EXPECT_TRUE(
        at::equal(run_sampler(*sampler, guided, velocity, at::ones({2, 3, 2, 4, 4})),
                  run_sampler(*make_sampler(options), guided, velocity, at::ones({2, 3, 2, 4, 4}))))
        << "after a run that was left";
  }
}

TEST(WanPipelineTest, MissingTextIsRefused) {
  const at::Tensor noise = at::randn({2, 3, 2, 4, 4});
  GuidedConditioning text = make_text();
  text.unconditional = {};
  EXPECT_THROW(sample_latents(exact_velocity, noise, text, {}), Error);
  EXPECT_THROW(sample_latents(exact_velocity, at::randn({3, 3, 2, 4, 4}), make_text(), {}), Error);
}

TEST(WanPipelineTest, LatentShapesFollowTheVae) {
  const WanVaeConfig vae;
  EXPECT_EQ(latent_shape(vae, 2, 17, 64, 96), (std::vector<int64_t>{2, 16, 5, 8, 12}));
  EXPECT_THROW(latent_shape(vae, 1, 18, 64, 96), DataError);
  EXPECT_THROW(latent_shape(vae, 1, 17, 60, 96), DataError);
}

TEST(WanPipelineTest, FramesKeepRowsColumnsAndChannels) {
  const at::Tensor bytes = at::arange(2 * 2 * 4 * 3, at::kByte).reshape({2, 2, 4, 3});
  const std::vector<media::Frame> frames = to_frames(bytes);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[1].width, 4);
  EXPECT_EQ(frames[1].height, 2);
  EXPECT_EQ(frames[1].pixel(3, 1)[2], bytes[1][1][3][2].item<uint8_t>());
  EXPECT_THROW(to_frames(bytes.to(at::kFloat)), Error);
}

}  // namespace
}  // namespace zoetrope
