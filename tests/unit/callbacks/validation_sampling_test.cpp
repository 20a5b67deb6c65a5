// How validation samples: by pipeline, config and method.
#include "zoetrope/callbacks/validation_sampling.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/fake_model.h"
#include "zoetrope/config/node.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"

namespace zoetrope::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A method whose student has steps of its own: 1000 and 500, moved onto shift 5.
class FewStepMethod : public FineTuneMethod {
 public:
  using FineTuneMethod::FineTuneMethod;
  std::optional<FewStepRollout> few_step_rollout() override {
    FewStepRollout rollout{.schedule = make_self_forcing_schedule(5.0, at::kCPU), .timesteps = {}};
    rollout.timesteps = denoising_timesteps({1000, 500}, true, rollout.schedule, "method");
    rollout.transition = FewStepTransition::kOde;
    rollout.context_noise = 10.0;
    rollout.warped = true;
    return rollout;
  }
};

class ValidationSampling : public testing::Test {
 protected:
  template <class Method>
  std::unique_ptr<TrainingMethod> make() {
    MethodContext context;
    context.roles.add("student", std::make_unique<FakeModel>(random_));
    context.optimizer.learning_rate = 0.05;
    context.max_train_steps = 1;
    context.random = &random_;
    return std::make_unique<Method>(FineTuneConfig{}, std::move(context));
  }

  ValidationConfig config(const std::string& pipeline) const {
    ValidationConfig config;
    config.pipeline_target = pipeline;
    return config;
  }

  static std::vector<double> timesteps(const SamplingOptions& sampling) {
    std::vector<double> values;
    for (const at::Tensor& timestep : sampling.few_step->timesteps)
      values.push_back(timestep.item<double>());
    return values;
  }

  KeyedRandomSource random_{3};
  CallbackContext context_;
};

TEST_F(ValidationSampling, WanMakesOnePassForEachNumberOfSteps) {
  ValidationConfig many = config("WanPipeline");
  many.sampling_steps = {4, 40};
  many.guidance_scale = 6.0;
  const auto passes = validation_passes(many, context_, *make<FewStepMethod>());
  ASSERT_EQ(passes.size(), 2U);
  EXPECT_EQ(num_steps(passes[0]), 4);
  EXPECT_EQ(num_steps(passes[1]), 40);
  EXPECT_EQ(passes[1].guidance_scale, 6.0);
  EXPECT_FALSE(passes[0].few_step);
}

TEST_F(ValidationSampling, FewStepsAreTheMethodsOwn) {
  ValidationConfig few = config("fastvideo.pipelines.basic.wan.wan_dmd_pipeline.WanDMDPipeline");
  few.guidance_scale = 6.0;
  few.sampling_steps = {4, 40};
  const auto passes = validation_passes(few, context_, *make<FewStepMethod>());
  ASSERT_EQ(passes.size(), 1U);
  EXPECT_EQ(passes[0].guidance_scale, 1.0);
  EXPECT_EQ(num_steps(passes[0]), 2);
  EXPECT_EQ(passes[0].few_step->context_noise, 10.0);
  EXPECT_EQ(passes[0].few_step->transition, FewStepTransition::kOde);
  EXPECT_NEAR(timesteps(passes[0])[1], 2500.0 / 3.0, 1e-3);
}

TEST_F(ValidationSampling, GivenTimestepsReplaceThemOnTheMethodsSchedule) {
  ValidationConfig few = config("WanCausalDMDPipeline");
  few.sampling_timesteps = {{1000, 750, 250}};
  const auto method = make<FewStepMethod>();
  EXPECT_THAT(timesteps(validation_passes(few, context_, *method)[0]),
              ElementsAre(1000.0, 937.5, 625.0));
  few.warp_denoising_step = false;
  EXPECT_THAT(timesteps(validation_passes(few, context_, *method)[0]),
              ElementsAre(1000.0, 750.0, 250.0));
}

TEST_F(ValidationSampling, AMethodWithoutStepsNeedsTimesteps) {
  ValidationConfig few = config("WanDMDPipeline");
  const auto method = make<FineTuneMethod>();
  EXPECT_THAT(error_of([&] { validation_passes(few, context_, *method); }),
              HasSubstr("callbacks.validation.sampling_timesteps: must list the steps of "
                        "WanDMDPipeline"));
  few.sampling_timesteps = {{1000, 500}};
  EXPECT_THAT(timesteps(validation_passes(few, context_, *method)[0]), ElementsAre(1000.0, 500.0));
  few.sampling_timesteps = {{500, 1000}};
  EXPECT_THAT(error_of([&] { validation_passes(few, context_, *method); }),
              HasSubstr("callbacks.validation.sampling_timesteps: must be a list of descending"));
}

TEST_F(ValidationSampling, CausalPipelinesNeedACausalStudent) {
  FakeModel bidirectional(random_);
  EXPECT_THAT(
      error_of([&] { require_causal_student(bidirectional, pipeline_kind("WanCausalPipeline")); }),
      HasSubstr("WanCausalPipeline needs a causal student"));
}

TEST(ValidationPipelines, UnknownOnesAreRefusedWithTheKnownNames) {
  config::Issues issues;
  ValidationConfig read;
  config::schema_of<ValidationConfig>().read(
      config::parse_yaml("{dataset_file: prompts.json, pipeline_target: WanDMDPipelin}",
                         "run.yaml"),
      &read, {issues, "callbacks.validation"});
  ASSERT_EQ(issues.faults().size(), 1U);
  EXPECT_THAT(issues.faults()[0], HasSubstr("WanCausalDMDPipeline"));
  EXPECT_THAT(error_of([] { pipeline_kind("wan-dmdd"); }),
              HasSubstr("must be one of wan (WanPipeline), wan-dmd (WanDMDPipeline), wan-causal "
                        "(WanCausalPipeline), wan-causal-dmd (WanCausalDMDPipeline)"));
}

}  // namespace
}  // namespace zoetrope::test
