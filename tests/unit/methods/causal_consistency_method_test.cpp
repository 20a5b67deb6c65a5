#include "zoetrope/methods/consistency_distillation/causal_consistency_method.h"

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

constexpr int64_t kNumFrames = 4;

MethodContext make_context(RandomSource& random) {
  MethodContext context;
  context.roles.add("student", std::make_unique<FakeCausalModel>(random, 2));
  for (const char* role : {"teacher", "ema"})
    context.roles.add(role, std::make_unique<FakeCausalModel>(random, 2, false));
  context.optimizer.learning_rate = 0.1;
  context.max_train_steps = 10;
  context.flow_shift = 3.0;
  context.random = &random;
  return context;
}

FakeCausalModel& role(const TrainingMethod& method, const std::string& wanted) {
  for (const auto& [name, model] : method.roles().all()) {
    if (name == wanted) return dynamic_cast<FakeCausalModel&>(*model);
  }
  throw Error("no role " + wanted);
}

class CausalConsistency : public testing::Test {
 protected:
  KeyedRandomSource random_{5};
};

TEST_F(CausalConsistency, CallsEachNetworkOnceAndBuildsOneGraph) {
  for (const double guidance : {3.0, 1.0}) {
    CausalConsistencyConfig config;
    config.guidance_scale = guidance;
    CausalConsistencyDistillationMethod method(config, make_context(random_));
    method.on_train_start();
    EXPECT_EQ(role(method, "student").has_negative_prompt, guidance != 1.0);
    method.single_train_step(test::make_latent_batch(2, kNumFrames), {1});
    for (const char* name : {"student", "teacher", "ema"}) {
      ASSERT_EQ(role(method, name).forwards.size(), 1U) << name;
      EXPECT_EQ(role(method, name).forwards[0].with_grad, std::string(name) == "student") << name;
    }
    EXPECT_EQ(role(method, "teacher").forwards[0].num_rows, guidance == 1.0 ? 2 : 4)
        << "both conditionings in one forward, or one conditioning";
  }
}

// Without text the unconditional velocity is the conditional one, as of game networks.
TEST_F(CausalConsistency, DoesNotComputeTheUnconditionalVelocityWhereItIsTheConditionalOne) {
  class WithoutText : public FakeCausalModel {
   public:
    using FakeCausalModel::FakeCausalModel;
    TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) override {
      TrainingBatch batch = FakeCausalModel::prepare_batch(raw, source);
      batch.conditional = batch.unconditional = Conditioning();
      batch.conditional.keyboard_BFK = at::ones({raw.batch_size(), 1, 1});
      return batch;
    }
  };
  MethodContext context = make_context(random_);
  context.roles.remove("student");
  context.roles.add("student", std::make_unique<WithoutText>(random_, 2));
  CausalConsistencyDistillationMethod method({}, std::move(context));
  method.on_train_start();
  method.single_train_step(test::make_latent_batch(2, kNumFrames), {1});
  ASSERT_EQ(role(method, "teacher").forwards.size(), 1U);
  EXPECT_EQ(role(method, "teacher").forwards[0].num_rows, 2);
}

// The fake's velocity is noisy / 2 + 1/4 + clean / 8, whatever the text, so that guidance changes
// nothing.
TEST_F(CausalConsistency, LossIsThatOfNeighbouringNoiseLevels) {
  CausalConsistencyConfig config;
  config.discrete_cd_N = 7;
  CausalConsistencyDistillationMethod method(config, make_context(random_));
  method.on_train_start();
  role(method, "ema").parameters().load({{"scale", at::full({1}, 0.3)}, {"offset", at::zeros(1)}});
  const Batch raw = test::make_latent_batch(2, kNumFrames);
  const double loss = method.single_train_step(raw, {1}).losses[0].second.item<double>();

  const at::Tensor clean = raw.vae_latent_BCTHW.transpose(1, 2);
  const at::Tensor noise = random_.normal({"consistency.noise", {10, 11}}, clean.sizes());
  const auto index = random_.integers({"consistency.timestep", {10}}, 0, 6, {1}).item<int64_t>();
  const auto sigma_of = [](int64_t entry) {
    const double base = 1.0 - static_cast<double>(entry) / 7.0;
    return 3.0 * base / (1.0 + 2.0 * base);
  };
  const double sigma = sigma_of(index);
  const double next_sigma = sigma_of(index + 1);
  const at::Tensor noisy = (1.0 - sigma) * clean + sigma * noise;
  const at::Tensor velocity = 0.5 * noisy + 0.25 + 0.125 * clean;
  const at::Tensor next = noisy - (sigma - next_sigma) * velocity;
  const at::Tensor target = next - next_sigma * (0.3 * next + 0.125 * clean);
  const at::Tensor predicted = noisy - sigma * velocity;
  EXPECT_NEAR(loss, (predicted - target).square().mean().item<double>(), 1e-5);
}

TEST_F(CausalConsistency, AveragesFromItsStartStepOn) {
  CausalConsistencyConfig config;
  config.ema_start_step = 2;
  config.ema_decay = 0.75;
  CausalConsistencyDistillationMethod method(config, make_context(random_));
  const auto scale = [&] { return role(method, "ema").parameters().value("scale").item<double>(); };
  method.student().parameters().load({{"scale", at::full({1}, 1.5)}, {"offset", at::zeros(1)}});
  method.on_optimizer_step_end(1);
  EXPECT_EQ(scale(), 0.5);
  method.on_optimizer_step_end(2);
  EXPECT_NEAR(scale(), 0.75 * 0.5 + 0.25 * 1.5, 1e-6);
}

// Masks of other blocks show other frames.
TEST_F(CausalConsistency, RefusesRolesWithBlocksOfOtherSizes) {
  for (const char* odd : {"teacher", "ema"}) {
    MethodContext context = make_context(random_);
    context.roles.remove(odd);
    context.roles.add(odd, std::make_unique<FakeCausalModel>(random_, 3, false));
    EXPECT_THAT(
        test::error_of([&] { CausalConsistencyDistillationMethod({}, std::move(context)); }),
        HasSubstr(fmt::format("method: models.{} must have the num_frames_per_block of "
                              "models.student, which is 2, but has 3",
                              odd)));
  }
  const auto faults = [](const std::map<std::string, int64_t>& frames_per_block) {
    return test::config_faults<CausalConsistencyConfig>(
        "{guidance_scale: 3}", {.num_latent_frames = 12, .frames_per_block = frames_per_block});
  };
  EXPECT_THAT(faults({{"student", 1}, {"teacher", 1}, {"ema", 1}}), IsEmpty());
  EXPECT_THAT(faults({{"teacher", 3}, {"ema", 1}}), IsEmpty()) << "the checkpoint may say the same";
  EXPECT_THAT(faults({{"student", 1}, {"teacher", 3}, {"ema", 2}}),
              ElementsAre("f:1: method: models.teacher must have the num_frames_per_block of "
                          "models.student, which is 1, but has 3",
                          HasSubstr("models.ema must have the num_frames_per_block of "
                                    "models.student, which is 1, but has 2")));
}

TEST_F(CausalConsistency, RefusesDataWithoutLatents) {
  EXPECT_THAT(test::config_faults<CausalConsistencyConfig>("{}", {.has_latents = false}),
              ElementsAre(HasSubstr("method: must have data with videos, since it trains on their "
                                    "latents, but training.data.preprocessed_data_type is "
                                    "text_only")));
}

TEST_F(CausalConsistency, NamesMissingWronglyTrainableAndBidirectionalRoles) {
  const auto error_with = [&](auto change) {
    MethodContext context;
    context.optimizer.learning_rate = 0.1;
    context.max_train_steps = 10;
    context.random = &random_;
    change(context.roles);
    return test::error_of([&] { CausalConsistencyDistillationMethod({}, std::move(context)); });
  };
  const auto causal = [&](bool trainable) {
    return std::make_unique<FakeCausalModel>(random_, 2, trainable);
  };
  EXPECT_THAT(error_with([&](RoleModels& roles) {
                roles.add("student", causal(true));
                roles.add("teacher", causal(false));
              }),
              HasSubstr("models: consistency distillation needs the role 'ema'"));
  EXPECT_THAT(error_with([&](RoleModels& roles) {
                roles.add("student", causal(true));
                roles.add("teacher", causal(true));
              }),
              HasSubstr("models.teacher: consistency distillation needs it frozen, but trainable "
                        "is true"));
  EXPECT_THAT(error_with([&](RoleModels& roles) { roles.add("student", causal(false)); }),
              HasSubstr("models.student: training needs it trainable, but trainable is false"));
  EXPECT_THAT(error_with([&](RoleModels& roles) {
                roles.add("student", causal(true));
                roles.add("teacher", std::make_unique<FakeModel>(random_, false));
              }),
              HasSubstr("models.teacher: consistency distillation needs a causal model"));
  class Adapted : public FakeCausalModel {
   public:
    using FakeCausalModel::FakeCausalModel;
    bool exports_adapters() const override { return true; }
  };
  EXPECT_THAT(error_with([&](RoleModels& roles) {
                roles.add("student", std::make_unique<Adapted>(random_, 2));
                roles.add("teacher", causal(false));
                roles.add("ema", causal(false));
              }),
              HasSubstr("models.student.lora: must be off for consistency distillation"));
}

}  // namespace
}  // namespace zoetrope
