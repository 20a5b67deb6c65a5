#include "zoetrope/methods/fine_tuning/diffusion_forcing_method.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/config_faults.h"
#include "support/error_text.h"
#include "support/fake_causal_model.h"
#include "support/method_inputs.h"

namespace zoetrope {
namespace {

using test::FakeCausalModel;
using test::FakeModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

MethodContext make_context(RandomSource& random, std::unique_ptr<FakeModel> student) {
  MethodContext context;
  context.roles.add("student", std::move(student));
  context.optimizer.learning_rate = 0.1;
  context.max_train_steps = 10;
  context.random = &random;
  return context;
}

MethodContext make_context(RandomSource& random) {
  return make_context(random, std::make_unique<FakeModel>(random));
}

// exp(-2 ((i - 500) / 1000)^2), lowered by its least value and scaled to mean 1.
double expected_weight(int64_t index) {
  const auto raw = [](int64_t i) {
    const double x = (static_cast<double>(i) - 500.0) / 1000.0;
    return std::exp(-2.0 * x * x);
  };
  double sum = 0.0;
  for (int64_t i = 0; i < 1000; ++i) sum += raw(i) - raw(0);
  return (raw(index) - raw(0)) * 1000.0 / sum;
}

/// The loss of both methods, where `context_share` times the clean frames is added to velocities.
double expected_loss(RandomSource& random, const TrainingBatch& batch, double context_share) {
  const at::Tensor index_BK =
      random.integers({"diffusion_forcing.timestep", batch.sample_indices}, 0, 1000, {2, 3});
  double sum = 0.0;
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t frame = 0; frame < 5; ++frame) {
      const auto index = index_BK[row][frame / 2].item<int64_t>();
      // Shift 3 of the base level 1 - index / 1000.
      const double base = 1.0 - static_cast<double>(index) / 1000.0;
      const double sigma = 3.0 * base / (1.0 + 2.0 * base);
      const at::Tensor clean = batch.latents_BTCHW[row][frame];
      const at::Tensor noise = batch.noise_BTCHW[row][frame];
      const at::Tensor velocity =
          0.5 * ((1.0 - sigma) * clean + sigma * noise) + 0.25 + context_share * clean;
      sum += expected_weight(index) * (velocity - (noise - clean)).square().mean().item<double>();
    }
  }
  return sum / 10.0;
}

DiffusionForcingConfig chunks_of_two() {
  DiffusionForcingConfig config;
  config.chunk_size = 2;
  return config;
}

TEST(DiffusionForcing, WeighsEachChunksErrorByItsNoiseLevel) {
  KeyedRandomSource random(5);
  DiffusionForcingSftMethod method(chunks_of_two(), make_context(random));
  const Batch raw = test::make_latent_batch(2, 5);
  const double loss = method.single_train_step(raw, {1}).losses[0].second.item<double>();
  const TrainingBatch batch = method.student().prepare_batch(raw, LatentsSource::kData);
  EXPECT_NEAR(loss, expected_loss(random, batch, 0.0), 1e-5);
}

TEST(TeacherForcing, IsTheSameLossWithCleanFramesInView) {
  KeyedRandomSource random(5);
  TeacherForcingSftMethod method(
      chunks_of_two(), make_context(random, std::make_unique<FakeCausalModel>(random, 2)));
  const Batch raw = test::make_latent_batch(2, 5);
  const StepOutput output = method.single_train_step(raw, {1});
  EXPECT_EQ(output.losses[1].first, "dfsft_loss");
  const TrainingBatch batch = method.student().prepare_batch(raw, LatentsSource::kData);
  const double expected = expected_loss(random, batch, FakeCausalModel::kContextShare);
  EXPECT_NEAR(output.losses[0].second.item<double>(), expected, 1e-5);
  EXPECT_GT(std::abs(expected - expected_loss(random, batch, 0.0)), 1e-3)
      << "the clean frames count";
}

TEST(DiffusionForcing, RefusesAChunkThatIsNotTheCausalStudentsBlock) {
  KeyedRandomSource random(5);
  const auto error = [&](auto make) {
    return test::error_of(
        [&] { make(make_context(random, std::make_unique<FakeCausalModel>(random, 3))); });
  };
  const char* expected =
      "method.chunk_size: must be the student's num_frames_per_block, which is 3, but got 2";
  EXPECT_THAT(error([](MethodContext context) {
                DiffusionForcingSftMethod(chunks_of_two(), std::move(context));
              }),
              HasSubstr(expected));
  EXPECT_THAT(error([](MethodContext context) {
                TeacherForcingSftMethod(chunks_of_two(), std::move(context));
              }),
              HasSubstr(expected));
  EXPECT_NO_THROW(DiffusionForcingSftMethod(chunks_of_two(), make_context(random)))
      << "a bidirectional student has no blocks";
}

TEST(DiffusionForcingConfig, IsRefusedBeforeAnythingIsLoaded) {
  const config::RunFacts blocks_of_three{.num_latent_frames = 12,
                                         .frames_per_block = {{"student", 3}}};
  EXPECT_THAT(test::config_faults<DiffusionForcingConfig>("{chunk_size: 3}", blocks_of_three),
              IsEmpty());
  EXPECT_THAT(
      test::config_faults<DiffusionForcingConfig>(
          "chunk_size: 2\nmin_timestep_ratio: 0.98\nmax_timestep_ratio: 0.02\n", blocks_of_three),
      ElementsAre("f:1: method.chunk_size: must be the student's num_frames_per_block, "
                  "which is 3, but got 2",
                  "f:2: method.min_timestep_ratio: must be at most max_timestep_ratio, "
                  "which is 0.02, but got 0.98"));
  EXPECT_THAT(test::config_faults<DiffusionForcingConfig>("{}", {.has_latents = false}),
              ElementsAre(HasSubstr("method: must have data with videos")));
}

TEST(DiffusionForcing, DrawsOnlyFromItsRange) {
  KeyedRandomSource random(5);
  DiffusionForcingConfig config;
  config.chunk_size = 1;
  config.min_timestep_ratio = 0.2;
  config.max_timestep_ratio = 0.2;
  DiffusionForcingSftMethod method(config, make_context(random));
  const Batch raw = test::make_latent_batch(1, 8);
  const double loss = method.single_train_step(raw, {1}).losses[0].second.item<double>();
  const TrainingBatch batch = method.student().prepare_batch(raw, LatentsSource::kData);
  // Entries 200 and 201 of the table differ little; a range of one entry is widened by one.
  const double sigma = 3.0 * 0.8 / (1.0 + 2.0 * 0.8);
  const at::Tensor velocity =
      0.5 * ((1.0 - sigma) * batch.latents_BTCHW + sigma * batch.noise_BTCHW) + 0.25;
  const double expected =
      expected_weight(200) *
      (velocity - (batch.noise_BTCHW - batch.latents_BTCHW)).square().mean().item<double>();
  EXPECT_NEAR(loss, expected, 0.01 * expected);
}

TEST(TeacherForcing, NeedsACausalStudent) {
  KeyedRandomSource random(5);
  EXPECT_THAT(test::error_of([&] { TeacherForcingSftMethod({}, make_context(random)); }),
              HasSubstr("models.student: teacher forcing needs a causal model, but this one is "
                        "bidirectional; use WanCausalModel"));
}

}  // namespace
}  // namespace zoetrope
