#include "zoetrope/diffusion/flow_match_schedule.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/diffusion/samplers/flow_match_euler.h"
#include "zoetrope/diffusion/samplers/sampling_schedules.h"
#include "zoetrope/diffusion/samplers/unipc.h"
#include "zoetrope/diffusion/timestep_sampling.h"

namespace zoetrope {
namespace {

TEST(FlowMatchScheduleTest, TimestepsTakeAnyPrefixOfTheSampleShape) {
  const FlowMatchSchedule schedule = make_training_schedule(3.0, at::kCPU);
  const at::Tensor clean_BTCHW = at::randn({2, 3, 4, 2, 2});
  const at::Tensor noise_BTCHW = at::randn({2, 3, 4, 2, 2});
  const at::Tensor t_BT = schedule.timesteps().slice(0, 100, 700, 100).reshape({2, 3}).contiguous();
  const at::Tensor framewise = schedule.add_noise(clean_BTCHW, noise_BTCHW, t_BT);
  const at::Tensor flat =
      schedule.add_noise(clean_BTCHW.flatten(0, 1), noise_BTCHW.flatten(0, 1), t_BT.flatten());
  EXPECT_TRUE(at::equal(framewise.flatten(0, 1), flat));
  // Sigma is timestep / 1000 wherever the timestep is an entry of the table.
  const at::Tensor sigma = t_BT[1][2] / 1000.0;
  EXPECT_TRUE(
      at::allclose(framewise[1][2], (1.0 - sigma) * clean_BTCHW[1][2] + sigma * noise_BTCHW[1][2]));
  EXPECT_THROW(schedule.add_noise(clean_BTCHW, noise_BTCHW, schedule.timesteps().slice(0, 0, 6)),
               Error);
}

TEST(FlowMatchScheduleTest, NoisyIsReturnedInTheTypeOfTheNoise) {
  const FlowMatchSchedule schedule = make_training_schedule(5.0, at::kCPU);
  const at::Tensor clean = at::randn({1, 4}).to(at::kBFloat16);
  const at::Tensor noise = at::randn({1, 4}).to(at::kBFloat16);
  const at::Tensor noisy = schedule.add_noise(clean, noise, at::full({1}, 500.0));
  EXPECT_EQ(noisy.scalar_type(), at::kBFloat16);
  const at::Tensor in_fp32 =
      schedule.add_noise(clean.to(at::kFloat), noise.to(at::kFloat), at::full({1}, 500.0));
  EXPECT_TRUE(at::equal(noisy, in_fp32.to(at::kBFloat16)));
}

TEST(FlowMatchScheduleTest, EulerStepEndsAtTheCleanSamplePerRow) {
  const FlowMatchSchedule schedule = make_training_schedule(3.0, at::kCPU);
  const at::Tensor clean = at::randn({2, 5});
  const at::Tensor noise = at::randn({2, 5});
  const at::Tensor last_and_first =
      schedule.timesteps().index_select(0, at::tensor({999, 0}, at::kLong));
  const at::Tensor noisy = schedule.add_noise(clean, noise, last_and_first);
  const at::Tensor stepped = schedule.euler_step(noise - clean, last_and_first, noisy);
  EXPECT_TRUE(at::allclose(stepped[0], clean[0], 1e-5, 1e-6));
  const at::Tensor second_sigma = schedule.sigmas()[1];
  EXPECT_TRUE(at::allclose(stepped[1], (1.0 - second_sigma) * clean[1] + second_sigma * noise[1],
                           1e-5, 1e-6));
}

TEST(FlowMatchScheduleTest, BadShiftsAndStepsAreRefused) {
  EXPECT_THROW(make_training_schedule(0.0, at::kCPU), Error);
  EXPECT_THROW(make_self_forcing_schedule(-1.0, at::kCPU), Error);
  EXPECT_THROW(make_training_schedule(3.0, at::kCPU).warp_steps({1001}), Error);
  EXPECT_THROW(make_euler_schedule(3.0, 0), Error);
  EXPECT_EQ(make_training_schedule(3.0, at::kCPU).warp_steps({0}).item<float>(), 0.0F);
}

TEST(PredictionConversionTest, ConversionsInvertEachOther) {
  const at::Tensor clean = at::randn({3, 4});
  const at::Tensor noise = at::randn({3, 4});
  const at::Tensor sigma = at::tensor({0.2, 0.5, 0.9}, at::kFloat);
  const at::Tensor noisy = (1.0 - sigma.unsqueeze(1)) * clean + sigma.unsqueeze(1) * noise;
  const at::Tensor velocity = noise - clean;
  const auto close = [](const at::Tensor& a, const at::Tensor& b) {
    return at::allclose(a, b, 1e-5, 1e-5);
  };
  EXPECT_TRUE(close(velocity_to_clean(velocity, noisy, sigma), clean));
  EXPECT_TRUE(close(velocity_to_noise(velocity, noisy, sigma), noise));
  EXPECT_TRUE(close(clean_to_velocity(clean, noisy, sigma), velocity));
  EXPECT_TRUE(close(clean_to_noise(clean, noisy, sigma), noise));
  EXPECT_TRUE(close(noise_to_clean(noise, noisy, sigma), clean));
  EXPECT_TRUE(close(noise_to_velocity(noise, noisy, sigma), velocity));
}

TEST(TimestepSamplingTest, APositionOfOneGivesTheLastEntry) {
  const at::Tensor index = position_to_index(at::tensor({0.0, 0.9999999, 1.0}, at::kFloat), 1000);
  EXPECT_TRUE(at::equal(index, at::tensor({0, 999, 999}, at::kLong)));
  const at::Tensor mode = timestep_positions(at::zeros({1}), {.density = TimestepDensity::kMode});
  EXPECT_EQ(position_to_index(mode, 1000).item<int64_t>(), 999);
}

TEST(SamplerTest, EverySamplerFollowsAStraightFlowExactly) {
  const at::Tensor clean = at::randn({1, 8});
  const at::Tensor noise = at::randn({1, 8});
  std::vector<std::unique_ptr<Sampler>> samplers;
  samplers.push_back(std::make_unique<FlowMatchEuler>(make_euler_schedule(5.0, 7)));
  for (int64_t order : {1, 2, 3}) {
    for (UniPcSolver solver : {UniPcSolver::kBh1, UniPcSolver::kBh2}) {
      samplers.push_back(std::make_unique<UniPc>(make_diffusers_unipc_schedule(5.0, 7),
                                                 UniPcOptions{.order = order, .solver = solver}));
    }
  }
  for (auto& sampler : samplers) {
    const double sigma = sampler->schedule().sigmas.front();
    at::Tensor sample = (1.0 - sigma) * clean + sigma * noise;
    for (int64_t i = 0; i < sampler->num_steps(); ++i)
      sample = sampler->step(noise - clean, i, sample);
    EXPECT_TRUE(at::allclose(sample, clean, 1e-4, 1e-5));
  }
}

TEST(SamplerTest, UniPcRefusesStepsOutOfOrderAndUnknownOrders) {
  UniPc sampler(make_unipc_schedule(3.0, 4));
  const at::Tensor x = at::zeros({1, 2});
  sampler.step(x, 0, x);
  EXPECT_THROW(sampler.step(x, 2, x), Error);
  EXPECT_THROW(UniPc(make_unipc_schedule(3.0, 4), {.order = 4}), Error);
}

}  // namespace
}  // namespace zoetrope
