#include "zoetrope/methods/fine_tuning/fine_tune_method.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fake_model.h"
#include "support/method_inputs.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using test::FakeModel;

MethodContext make_context(RandomSource& random, bool trainable = true) {
  MethodContext context;
  context.roles.add("student", std::make_unique<FakeModel>(random, trainable));
  context.optimizer.learning_rate = 0.1;
  context.max_train_steps = 10;
  context.random = &random;
  return context;
}

TEST(FineTuneMethod, LossIsTheMeanSquaredErrorOfTheVelocity) {
  KeyedRandomSource random(5);
  FineTuneMethod method({}, make_context(random));
  const Batch raw = test::make_latent_batch(3);
  const StepOutput output = method.single_train_step(raw, {1});
  const TrainingBatch batch = method.student().prepare_batch(raw, LatentsSource::kData);
  const at::Tensor expected =
      (0.5 * batch.noisy_latents_BTCHW + 0.25 - (batch.noise_BTCHW - batch.latents_BTCHW))
          .square()
          .mean();
  ASSERT_EQ(output.losses.size(), 2U);
  EXPECT_EQ(output.losses[0].first, "total_loss");
  EXPECT_EQ(output.losses[1].first, "finetune_loss");
  EXPECT_NEAR(output.losses[0].second.item<double>(), expected.item<double>(), 1e-6);
  EXPECT_FALSE(output.losses[0].second.requires_grad());
}

TEST(FineTuneMethod, PreconditionedLossIsTakenInCleanLatents) {
  KeyedRandomSource random(5);
  MethodContext context = make_context(random);
  context.precondition_outputs = true;
  FineTuneMethod method({}, std::move(context));
  const Batch raw = test::make_latent_batch(2);
  const TrainingBatch batch = method.student().prepare_batch(raw, LatentsSource::kData);
  const at::Tensor velocity = 0.5 * batch.noisy_latents_BTCHW + 0.25;
  const at::Tensor clean =
      batch.noisy_latents_BTCHW - batch.sigmas_B.view({-1, 1, 1, 1, 1}) * velocity;
  EXPECT_NEAR(method.single_train_step(raw, {1}).losses[0].second.item<double>(),
              (clean - batch.latents_BTCHW).square().mean().item<double>(), 1e-6);
}

TEST(FineTuneMethod, BackwardDividesByTheAccumulationRounds) {
  KeyedRandomSource random(5);
  FineTuneMethod method({}, make_context(random));
  const Batch raw = test::make_latent_batch(2);
  const ParameterStore& parameters = method.student().parameters();
  method.backward(method.single_train_step(raw, {1}), 1);
  const at::Tensor whole = parameters.groups()[0].flat_gradient.clone();
  method.student().parameters().zero_gradients();
  method.backward(method.single_train_step(raw, {1}), 4);
  EXPECT_TRUE(at::allclose(parameters.groups()[0].flat_gradient * 4, whole));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(FineTuneMethod, RefusesWrongRolesAndRates) {
  KeyedRandomSource random(5);
  EXPECT_THAT(message_of([&] { FineTuneMethod method({}, make_context(random, false)); }),
              testing::HasSubstr("models.student: training needs it trainable"));
  EXPECT_THAT(message_of([&] {
                MethodContext context;
                FineTuneMethod method({}, std::move(context));
              }),
              testing::HasSubstr("needs the role 'student'"));
  EXPECT_THAT(message_of([&] {
                MethodContext context = make_context(random);
                context.optimizer.learning_rate = 0.0;
                FineTuneMethod method({}, std::move(context));
              }),
              testing::HasSubstr("training.optimizer.learning_rate"));
}

}  // namespace
}  // namespace zoetrope
