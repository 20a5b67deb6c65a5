#include "zoetrope/methods/distribution_matching/dmd2_method.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_model.h"
#include "support/method_inputs.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using test::FakeModel;
using ::testing::HasSubstr;

Dmd2Config make_config() {
  Dmd2Config config;
  config.rollout_mode = "simulate";
  config.dmd_denoising_steps = {1000, 750, 500};
  config.real_score_guidance_scale = 1.0;
  config.fake_score_learning_rate = 0.1;
  config.fake_score_lr_scheduler = "constant";
  return config;
}

struct Roles {
  explicit Roles(RandomSource& random)
      : student(std::make_unique<FakeModel>(random)),
        teacher(std::make_unique<FakeModel>(random, false)),
        critic(std::make_unique<FakeModel>(random)) {}
  std::unique_ptr<FakeModel> student, teacher, critic;
};

MethodContext make_context(RandomSource& random, Roles roles) {
  MethodContext context;
  if (roles.student) context.roles.add("student", std::move(roles.student));
  if (roles.teacher) context.roles.add("teacher", std::move(roles.teacher));
  if (roles.critic) context.roles.add("critic", std::move(roles.critic));
  context.optimizer.learning_rate = 0.1;
  context.max_train_steps = 10;
  context.flow_shift = 3.0;
  context.random = &random;
  return context;
}

FakeModel& model_of(const TrainingMethod& method, const std::string& role) {
  for (const auto& [name, model] : method.roles().all()) {
    if (name == role) return dynamic_cast<FakeModel&>(*model);
  }
  throw Error("no role " + role);
}

int64_t forwards_of(const TrainingMethod& method, const std::string& role) {
  return model_of(method, role).num_forwards;
}

TEST(Dmd2Method, CallsEachNetworkAsOftenAsTheAlgorithmNeeds) {
  KeyedRandomSource random(5);
  Dmd2Config config = make_config();
  config.generator_update_interval = 2;
  Dmd2Method method(config, make_context(random, Roles(random)));
  // A rollout that ends at step j needs j + 1 forwards; the draws say which.
  int64_t student_minimum = 0;
  for (int64_t step = 1; step <= 4; ++step) {
    const auto rollout = [&](const char* purpose) {
      student_minimum += random.integers({purpose, {}, step - 1}, 0, 3, {1}).item<int64_t>() + 1;
    };
    if (step % 2 == 0) rollout("dmd.student.target_step");
    rollout("dmd.critic.target_step");
    method.single_train_step(test::make_latent_batch(2), {step});
  }
  EXPECT_EQ(forwards_of(method, "student"), student_minimum);
  EXPECT_EQ(forwards_of(method, "teacher"), 2);     // one for each student update
  EXPECT_EQ(forwards_of(method, "critic"), 2 + 4);  // its score there, and its own loss
}

TEST(Dmd2Method, RolloutsFromDataNeedOneForwardEach) {
  KeyedRandomSource random(5);
  Dmd2Config config = make_config();
  config.rollout_mode = "data_latent";
  config.real_score_guidance_scale = 3.0;
  Dmd2Method method(config, make_context(random, Roles(random)));
  method.on_train_start();
  method.single_train_step(test::make_latent_batch(2), {1});
  EXPECT_EQ(forwards_of(method, "student"), 2);
  EXPECT_EQ(forwards_of(method, "teacher"), 1) << "both conditionings in one";
  EXPECT_EQ(forwards_of(method, "critic"), 2);
}

// The student's own rollout has a graph in its last forward alone, and the critic in its loss.
TEST(Dmd2Method, BuildsGraphsOnlyWhereGradientFlows) {
  KeyedRandomSource random(5);
  for (const char* mode : {"simulate", "data_latent"}) {
    Dmd2Config config = make_config();
    config.rollout_mode = mode;
    config.generator_update_interval = 2;
    Dmd2Method method(config, make_context(random, Roles(random)));
    for (const int64_t step : {1, 2}) {
      for (const char* role : {"student", "teacher", "critic"})
        model_of(method, role).forwards.clear();
      method.single_train_step(test::make_latent_batch(2), {step});
      const bool updates = step == 2;
      const int64_t last_of_student =
          std::string(mode) == "data_latent"
              ? 0
              : random.integers({"dmd.student.target_step", {}, step - 1}, 0, 3, {1})
                    .item<int64_t>();
      const std::vector<FakeModel::Forward>& student = model_of(method, "student").forwards;
      for (size_t i = 0; i < student.size(); ++i) {
        EXPECT_EQ(student[i].with_grad, updates && static_cast<int64_t>(i) == last_of_student)
            << mode << " step " << step << " forward " << i;
      }
      for (const FakeModel::Forward& forward : model_of(method, "teacher").forwards)
        EXPECT_FALSE(forward.with_grad) << mode;
      const std::vector<FakeModel::Forward>& critic = model_of(method, "critic").forwards;
      ASSERT_EQ(critic.size(), updates ? 2U : 1U);
      EXPECT_EQ(critic.front().with_grad, !updates) << "its score comes first";
      EXPECT_TRUE(critic.back().with_grad) << "its loss";
    }
  }
}

TEST(Dmd2Method, UpdatesTheStudentAtItsInterval) {
  KeyedRandomSource random(5);
  Dmd2Config config = make_config();
  config.generator_update_interval = 5;
  Dmd2Method method(config, make_context(random, Roles(random)));
  for (int64_t step = 1; step <= 10; ++step) {
    const size_t expected = step % 5 == 0 ? 2 : 1;
    EXPECT_EQ(method.optimizers(step).size(), expected) << step;
    const StepOutput output = method.single_train_step(test::make_latent_batch(1), {step});
    EXPECT_EQ(output.objectives.size(), expected) << step;
    EXPECT_EQ(output.metrics[0].second, expected == 2 ? 1.0 : 0.0) << step;
  }
}

// dL/dx = gradient / number of elements, whatever the loss's own value.
TEST(Dmd2Method, GeneratorLossHasTheMatchingGradient) {
  KeyedRandomSource random(5);
  Dmd2Method method(make_config(), make_context(random, Roles(random)));
  const StepOutput output = method.single_train_step(test::make_latent_batch(2), {1});
  const at::Tensor& gradient = output.tensors[1].second;
  EXPECT_EQ(output.tensors[1].first, "dmd_gradient");
  EXPECT_NEAR(output.losses[1].second.item<double>(), 0.5 * gradient.square().mean().item<double>(),
              1e-6);
}

TEST(Dmd2Method, EncodesTheNegativePromptOnlyWhenItIsUsed) {
  KeyedRandomSource random(5);
  for (const char* policy : {"negative_prompt", "zero", "keep"}) {
    for (const double guidance : {1.0, 3.0}) {
      Dmd2Config config = make_config();
      config.cfg_uncond.text = policy;
      config.real_score_guidance_scale = guidance;
      Dmd2Method method(config, make_context(random, Roles(random)));
      method.on_train_start();
      EXPECT_EQ(dynamic_cast<FakeModel&>(method.student()).has_negative_prompt,
                guidance == 3.0 && std::string(policy) == "negative_prompt");
    }
  }
}

TEST(Dmd2Method, NamesMissingAndWronglyTrainableRoles) {
  KeyedRandomSource random(5);
  Roles without_critic(random);
  without_critic.critic.reset();
  EXPECT_THAT(test::error_of([&] {
                Dmd2Method(make_config(), make_context(random, std::move(without_critic)));
              }),
              HasSubstr("distribution matching needs the role 'critic'"));
  Roles trained_teacher(random);
  trained_teacher.teacher = std::make_unique<FakeModel>(random, true);
  EXPECT_THAT(test::error_of([&] {
                Dmd2Method(make_config(), make_context(random, std::move(trained_teacher)));
              }),
              HasSubstr("models.teacher: distribution matching needs it frozen"));
}

TEST(Dmd2Method, RefusesAStudentThatWouldNotBeTrained) {
  KeyedRandomSource random(5);
  MethodContext context = make_context(random, Roles(random));
  context.optimizer.learning_rate = OptimizerConfig().learning_rate;
  EXPECT_THAT(test::error_of([&] { Dmd2Method(make_config(), std::move(context)); }),
              HasSubstr("training.optimizer.learning_rate: distribution matching needs a value "
                        "above 0, but got 0"));
}

NamedTensors tensors_of(const Dmd2Config& config, const std::string& data) {
  KeyedRandomSource random(5);
  Roles roles(random);
  roles.student->data = data;
  Dmd2Method method(config, make_context(random, std::move(roles)));
  return method.single_train_step(test::make_latent_batch(2), {1}).tensors;
}

at::Tensor find(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [candidate, tensor] : tensors) {
    if (candidate == name) return tensor;
  }
  return {};
}

// What the student's clips are compared with: data where there are some, else the teacher's view.
TEST(Dmd2Method, GivesReferenceAndResampledLatentsForMonitoring) {
  const NamedTensors with_data = tensors_of(make_config(), "t2v");
  EXPECT_TRUE(at::equal(find(with_data, "reference_latents"),
                        test::make_latent_batch(2).vae_latent_BCTHW.transpose(1, 2)));
  EXPECT_TRUE(at::equal(find(with_data, "resampled_latents"), find(with_data, "critic_latents")));
  const NamedTensors of_text = tensors_of(make_config(), "text_only");
  // gradient = (critic - teacher) / mean |generated - teacher|, and both networks are alike here.
  EXPECT_EQ(find(of_text, "dmd_gradient").abs().max().item<double>(), 0.0);
  EXPECT_EQ(find(of_text, "reference_latents").sizes(), find(of_text, "generated_latents").sizes());
  EXPECT_FALSE(at::equal(find(of_text, "reference_latents"), find(of_text, "generated_latents")));
  Dmd2Config from_data = make_config();
  from_data.rollout_mode = "data_latent";
  EXPECT_FALSE(find(tensors_of(from_data, "t2v"), "resampled_latents").defined());
}

TEST(Dmd2Method, RefusesStepsThatAreNotDescending) {
  KeyedRandomSource random(5);
  for (const std::vector<int64_t>& steps :
       {std::vector<int64_t>{}, std::vector<int64_t>{500, 750}, std::vector<int64_t>{1001, 500},
        std::vector<int64_t>{1000, 1000}}) {
    Dmd2Config config = make_config();
    config.dmd_denoising_steps = steps;
    EXPECT_THAT(test::error_of([&] { Dmd2Method(config, make_context(random, Roles(random))); }),
                HasSubstr("method.dmd_denoising_steps: must be a list of descending timesteps"));
  }
}

}  // namespace
}  // namespace zoetrope
