// Tables, add_noise, x0 conversion, warping, timestep sampling and sampling trajectories against
// what FastVideo's own objects recorded. Shifts, schemes, steps and the toy network are read from
// the case.
#include <regex>
#include <string>

#include <fmt/format.h>

#include "support/golden.h"
#include "zoetrope/diffusion/flow_match_schedule.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/diffusion/samplers/flow_match_euler.h"
#include "zoetrope/diffusion/samplers/sampling_schedules.h"
#include "zoetrope/diffusion/samplers/unipc.h"
#include "zoetrope/diffusion/timestep_sampling.h"

namespace zoetrope {
namespace {

constexpr double kTable = 1e-6;
constexpr double kForward = 1e-5;

class SchedulerTrace : public testing::TestWithParam<std::filesystem::path> {
 protected:
  test::GoldenCase golden_{GetParam()};

  std::vector<double> shifts() const {
    std::vector<double> shifts;
    for (const auto& table : golden_.json().at("tables")) shifts.push_back(table.at("shift"));
    return shifts;
  }
  at::Tensor expected(const std::string& key) const { return golden_.tensor(key); }
};

TEST_P(SchedulerTrace, TrainingTables) {
  for (double shift : shifts()) {
    SCOPED_TRACE(fmt::format("shift {:g}", shift));
    const FlowMatchSchedule euler = make_training_schedule(shift, at::kCPU);
    EXPECT_TENSOR_CLOSE(euler.sigmas(), expected(fmt::format("fme{:g}.sigmas", shift)), kTable);
    EXPECT_TENSOR_CLOSE(euler.timesteps(), expected(fmt::format("fme{:g}.timesteps", shift)),
                        kTable);
    const FlowMatchSchedule self_forcing = make_self_forcing_schedule(shift, at::kCPU);
    EXPECT_TENSOR_CLOSE(self_forcing.sigmas(), expected(fmt::format("sf{:g}.sigmas", shift)),
                        kTable);
    EXPECT_TENSOR_CLOSE(self_forcing.timesteps(), expected(fmt::format("sf{:g}.timesteps", shift)),
                        kTable);
    EXPECT_TENSOR_CLOSE(gaussian_timestep_weights(self_forcing.timesteps()),
                        expected(fmt::format("sf{:g}.linear_timesteps_weights", shift)), kTable);
  }
}

TEST_P(SchedulerTrace, AddNoiseAndCleanPrediction) {
  for (double shift : shifts()) {
    SCOPED_TRACE(fmt::format("shift {:g}", shift));
    const std::string key = fmt::format("an{:g}.", shift);
    const at::Tensor clean = expected(key + "clean");
    const at::Tensor noise = expected(key + "noise");
    const at::Tensor timesteps = expected(key + "t");
    const at::Tensor velocity = expected(key + "pred");
    const FlowMatchSchedule euler = make_training_schedule(shift, at::kCPU);
    const FlowMatchSchedule self_forcing = make_self_forcing_schedule(shift, at::kCPU);
    EXPECT_TENSOR_CLOSE(euler.add_noise(clean, noise, timesteps), expected(key + "fme_noisy"),
                        kTable);
    EXPECT_TENSOR_CLOSE(self_forcing.add_noise(clean, noise, timesteps), expected(key + "sf_noisy"),
                        kTable);
    // The recorded conversions and steps took the clean tensor as their noisy sample.
    EXPECT_TENSOR_CLOSE(velocity_to_clean(velocity, clean, euler.sigma_at(timesteps)),
                        expected(key + "fme_pred_x0"), kTable);
    EXPECT_TENSOR_CLOSE(velocity_to_clean(velocity, clean, self_forcing.sigma_at(timesteps)),
                        expected(key + "sf_pred_x0"), kTable);
    const at::Tensor step = expected(key + "sf_step");
    const auto first_rows = [&](const at::Tensor& tensor) {
      return tensor.slice(0, 0, step.size(0));
    };
    EXPECT_TENSOR_CLOSE(
        self_forcing.euler_step(first_rows(velocity), first_rows(timesteps), first_rows(clean)),
        step, kTable);
  }
}

TEST_P(SchedulerTrace, WarpedSteps) {
  const std::regex pattern(R"(warp([0-9.e+]+)\.(.+)\.(fme|sf))");
  int checked = 0;
  for (const std::string& key : golden_.keys()) {
    std::smatch match;
    if (!std::regex_match(key, match, pattern)) continue;
    SCOPED_TRACE(key);
    const double shift = std::stod(match[1]);
    const at::Tensor warped = expected(key);
    // The case does not list the unwarped steps; undoing the shift gives them, since they are whole
    // numbers.
    std::vector<int64_t> steps;
    for (int64_t i = 0; i < warped.numel(); ++i) {
      const double sigma = warped[i].item<double>() / 1000.0;
      steps.push_back(std::llround(1000.0 * sigma / (shift - (shift - 1.0) * sigma)));
    }
    const FlowMatchSchedule schedule = match[3] == "fme"
                                           ? make_training_schedule(shift, at::kCPU)
                                           : make_self_forcing_schedule(shift, at::kCPU);
    EXPECT_TENSOR_CLOSE(schedule.warp_steps(steps), warped, kTable);
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

TEST_P(SchedulerTrace, ShiftedAndClampedTimesteps) {
  for (double shift : shifts()) {
    SCOPED_TRACE(fmt::format("shift {:g}", shift));
    EXPECT_TENSOR_CLOSE(
        shift_and_clamp_timesteps(expected(fmt::format("shift{:g}.in", shift)), shift),
        expected(fmt::format("shift{:g}.out", shift)), kTable);
  }
}

TEST_P(SchedulerTrace, TimestepSampling) {
  const FlowMatchSchedule shift_3 = make_training_schedule(3.0, at::kCPU);
  for (const auto& sampling : golden_.json().at("sampling")) {
    const std::string scheme = sampling.at("scheme");
    const std::string key = fmt::format("sample{}.", sampling.at("i").get<int>());
    SCOPED_TRACE(key + scheme);
    const at::Tensor recorded = expected(key + "u");
    at::Generator generator = at::detail::createCPUGenerator(sampling.at("seed").get<uint64_t>());
    TimestepDensityOptions options;
    at::Tensor draws;
    if (scheme == "logit_normal") {
      options = {.density = TimestepDensity::kLogitNormal,
                 .logit_mean = sampling.at("logit_mean"),
                 .logit_std = sampling.at("logit_std")};
      draws = at::randn(recorded.sizes(), generator);
    } else {
      draws = at::rand(recorded.sizes(), generator);
      if (scheme == "mode") {
        options = {.density = TimestepDensity::kMode, .mode_scale = sampling.at("mode_scale")};
      }
    }
    const at::Tensor positions = timestep_positions(draws, options);
    EXPECT_TENSOR_CLOSE(positions, recorded, kTable);
    const at::Tensor index = position_to_index(recorded, shift_3.size());
    EXPECT_TENSOR_CLOSE(index, expected(key + "idx"), 0.0);
    EXPECT_TENSOR_CLOSE(shift_3.timesteps().index_select(0, index), expected(key + "t_shift3"),
                        kTable);
  }
}

TEST_P(SchedulerTrace, DiffusionForcingWeights) {
  const at::Tensor weights = expected("dfsft_training_weights");
  EXPECT_TENSOR_CLOSE(gaussian_timestep_weights(at::arange(weights.numel(), at::kFloat)), weights,
                      kTable);
}

// The toy network of every recorded trajectory; the test checks that the case names this formula.
constexpr const char* kToyFormula = "v(x,t) = 0.7*tanh(1.3 x) - 0.2 x + 0.1*sin(3*t/1000)";
at::Tensor toy_velocity(const at::Tensor& sample, double timestep) {
  return 0.7 * (1.3 * sample).tanh() - 0.2 * sample + 0.1 * std::sin(3.0 * timestep / 1000.0);
}

std::unique_ptr<Sampler> make_sampler(const std::string& name, double shift, int64_t steps) {
  if (name == "euler") return std::make_unique<FlowMatchEuler>(make_euler_schedule(shift, steps));
  if (name == "unipc") return std::make_unique<UniPc>(make_unipc_schedule(shift, steps));
  if (name == "unipc_bh1") {
    return std::make_unique<UniPc>(make_unipc_schedule(shift, steps),
                                   UniPcOptions{.order = 3, .solver = UniPcSolver::kBh1});
  }
  return nullptr;
}

TEST_P(SchedulerTrace, Trajectories) {
  for (const auto& trajectory : golden_.json().at("trajectories")) {
    const std::string key = trajectory.at("key");
    SCOPED_TRACE(key);
    ASSERT_EQ(trajectory.at("model"), kToyFormula);
    const std::unique_ptr<Sampler> sampler =
        make_sampler(trajectory.at("scheduler"), trajectory.at("shift"), trajectory.at("steps"));
    ASSERT_NE(sampler, nullptr) << "unknown sampler " << trajectory.at("scheduler");
    EXPECT_TENSOR_CLOSE(at::tensor(sampler->schedule().timesteps, at::kDouble),
                        expected(key + ".timesteps"), kTable);
    EXPECT_TENSOR_CLOSE(at::tensor(sampler->schedule().sigmas, at::kDouble),
                        expected(key + ".sigmas"), kTable);
    at::Tensor sample = expected(key + ".x_init");
    const at::Tensor steps = expected(key + ".x_steps");
    for (int64_t i = 0; i < sampler->num_steps(); ++i) {
      sample = sampler->step(toy_velocity(sample, sampler->timestep(i)), i, sample);
      ASSERT_TENSOR_CLOSE(sample, steps[i], kForward) << "step " << i;
    }
  }
}

bool has_scheduler_tables(const test::GoldenCase& golden) {
  return golden.json().contains("tables") && golden.json().contains("trajectories") &&
         golden.json().contains("sampling");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SchedulerTrace);
INSTANTIATE_TEST_SUITE_P(Golden, SchedulerTrace,
                         testing::ValuesIn(test::golden_folders_where(test::golden_root(),
                                                                      has_scheduler_tables)),
                         test::golden_test_name);

TEST(SchedulerTraces, AreThere) {
  EXPECT_FALSE(test::golden_folders_where(test::reference_root(), has_scheduler_tables).empty());
}

}  // namespace
}  // namespace zoetrope
