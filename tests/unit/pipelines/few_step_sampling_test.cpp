// Few-step sampling against formulas written out by hand, on a network whose velocity is linear.
#include <array>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "zoetrope/pipelines/wan_pipeline.h"

namespace zoetrope::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kSlope = 0.75;
constexpr double kOffset = -0.25;
constexpr double kTolerance = 1e-5;

at::Tensor linear_velocity(const at::Tensor& noisy, const at::Tensor& /*timestep*/,
                           const Conditioning& /*text*/) {
  return kSlope * noisy + kOffset;
}

SamplingOptions few_steps(const std::vector<int64_t>& steps, bool warp, double shift,
                          FewStepTransition transition) {
  SamplingOptions options;
  options.guidance_scale = 1.0;
  options.few_step = {.schedule = make_training_schedule(shift, at::kCPU), .timesteps = {}};
  options.few_step->timesteps =
      denoising_timesteps(steps, warp, options.few_step->schedule, "steps");
  options.few_step->transition = transition;
  return options;
}

GuidedConditioning text() {
  GuidedConditioning conditions;
  conditions.conditional.text_embedding_BLD = at::zeros({1, 4, 3});
  return conditions;
}

// Noise levels of three steps; by hand.
using Levels = std::array<double, 3>;

double clean_of(double noisy, double level) {
  return noisy - level * (kSlope * noisy + kOffset);
}

class FewStepSampling : public testing::Test {
 protected:
  at::Tensor sample(const SamplingOptions& options) {
    return sample_latents(linear_velocity, start_, text(), options, {},
                          [&](int64_t step) { return at::full_like(start_, fresh_.at(step)); });
  }

  at::Tensor start_ = at::randn({1, 2, 3, 4, 4});
  std::array<double, 3> fresh_ = {0.0, 0.5, -1.5};
};

TEST_F(FewStepSampling, NoisesThePredictionAfreshAtEveryStep) {
  const Levels levels = {1.0, 0.75, 0.25};
  const at::Tensor sampled =
      sample(few_steps({1000, 750, 250}, false, 3.0, FewStepTransition::kSde));
  for (int64_t i = 0; i < start_.numel(); ++i) {
    double x = start_.flatten()[i].item<double>();
    x = (1 - levels[1]) * clean_of(x, levels[0]) + levels[1] * fresh_[1];
    x = (1 - levels[2]) * clean_of(x, levels[1]) + levels[2] * fresh_[2];
    EXPECT_NEAR(sampled.flatten()[i].item<double>(), clean_of(x, levels[2]), kTolerance);
  }
}

TEST_F(FewStepSampling, WarpedStepsLieOnTheShiftedSchedule) {
  // 5 b / (1 + 4 b) of b = 1, 0.75, 0.25.
  const Levels levels = {1.0, 0.9375, 0.625};
  const at::Tensor sampled =
      sample(few_steps({1000, 750, 250}, true, 5.0, FewStepTransition::kSde));
  for (int64_t i = 0; i < start_.numel(); ++i) {
    double x = start_.flatten()[i].item<double>();
    x = (1 - levels[1]) * clean_of(x, levels[0]) + levels[1] * fresh_[1];
    x = (1 - levels[2]) * clean_of(x, levels[1]) + levels[2] * fresh_[2];
    EXPECT_NEAR(sampled.flatten()[i].item<double>(), clean_of(x, levels[2]), kTolerance);
  }
}

TEST_F(FewStepSampling, AlongTheFlowTheStepsAreEulers) {
  const Levels levels = {1.0, 0.75, 0.25};
  const SamplingOptions options = few_steps({1000, 750, 250}, false, 3.0, FewStepTransition::kOde);
  const at::Tensor sampled = sample_latents(linear_velocity, start_, text(), options);
  for (int64_t i = 0; i < start_.numel(); ++i) {
    double x = start_.flatten()[i].item<double>();
    for (size_t step = 0; step < 3; ++step) {
      const double next = step + 1 < 3 ? levels[step + 1] : 0.0;
      x += (next - levels[step]) * (kSlope * x + kOffset);
    }
    EXPECT_NEAR(sampled.flatten()[i].item<double>(), x, kTolerance);
  }
}

TEST_F(FewStepSampling, TheNetworkSeesExactTimestepsAndNoGuidance) {
  std::vector<double> timesteps;
  int64_t most_rows = 0;
  const auto velocity = [&](const at::Tensor& noisy, const at::Tensor& timestep_B,
                            const Conditioning& conditioning) {
    timesteps.push_back(timestep_B[0].item<double>());
    most_rows = std::max(most_rows, noisy.size(0));
    return linear_velocity(noisy, timestep_B, conditioning);
  };
  std::vector<int64_t> progress;
  sample_latents(velocity, start_, text(),
                 few_steps({1000, 750}, true, 5.0, FewStepTransition::kOde),
                 [&](int64_t done, int64_t total) {
                   progress.push_back(done);
                   EXPECT_EQ(total, 2);
                 });
  EXPECT_THAT(timesteps, ElementsAre(1000.0, 937.5));
  EXPECT_THAT(progress, ElementsAre(1, 2));
  EXPECT_EQ(most_rows, 1);
}

TEST_F(FewStepSampling, MissingNoiseAndWrongStepsAreRefused) {
  const SamplingOptions options = few_steps({1000, 750}, false, 3.0, FewStepTransition::kSde);
  EXPECT_THAT(error_of([&] { sample_latents(linear_velocity, start_, text(), options); }),
              HasSubstr("fresh noise"));
  const FlowMatchSchedule schedule = make_training_schedule(3.0, at::kCPU);
  const std::vector<std::vector<int64_t>> wrong = {{}, {750, 1000}, {1001, 500}, {500, 500}};
  for (const std::vector<int64_t>& steps : wrong) {
    EXPECT_THAT(error_of([&] { denoising_timesteps(steps, false, schedule, "--steps"); }),
                HasSubstr("--steps: must be a list of descending timesteps"));
  }
}

TEST(FrameBlocks, FramesThatFillNoBlockJoinTheFirst) {
  EXPECT_THAT(split_into_blocks(6, 3), ElementsAre(FrameBlock{0, 0, 3}, FrameBlock{1, 3, 3}));
  EXPECT_THAT(split_into_blocks(8, 3), ElementsAre(FrameBlock{0, 0, 5}, FrameBlock{1, 5, 3}));
  EXPECT_THAT(split_into_blocks(2, 3), ElementsAre(FrameBlock{0, 0, 2}));
}

}  // namespace
}  // namespace zoetrope::test
