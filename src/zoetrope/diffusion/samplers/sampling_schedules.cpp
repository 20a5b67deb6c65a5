#include "zoetrope/diffusion/samplers/sampling_schedules.h"

#include <cmath>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/flow_match_schedule.h"

namespace zoetrope {
namespace {

void check(double shift, int64_t num_steps) {
  if (!(shift > 0.0)) fail<Error>("flow shift: must be positive, but is {}", shift);
  if (num_steps < 1) fail<Error>("sampling steps: must be at least 1, but are {}", num_steps);
}

double shifted(double sigma, double shift) {
  return shift * sigma / (1.0 + (shift - 1.0) * sigma);
}

// The same formula in fp32, in which the reference keeps the bounds of its tables.
double shifted_fp32(float sigma, float shift) {
  return (shift * sigma) / (1.0F + (shift - 1.0F) * sigma);
}

// `count` equally spaced values from `first` to `last`, both included.
std::vector<double> linspace(double first, double last, int64_t count) {
  std::vector<double> values(count, first);
  for (int64_t i = 1; i < count; ++i) {
    values[i] = first + static_cast<double>(i) * ((last - first) / static_cast<double>(count - 1));
  }
  return values;
}

double round_to_fp32(double value) {
  return static_cast<double>(static_cast<float>(value));
}

SamplingSchedule with_truncated_timesteps(const std::vector<double>& sigmas) {
  SamplingSchedule schedule;
  for (double sigma : sigmas) {
    schedule.timesteps.push_back(std::trunc(sigma * kNumTrainTimesteps));
    schedule.sigmas.push_back(round_to_fp32(sigma));
  }
  schedule.sigmas.push_back(0.0);
  return schedule;
}

}  // namespace

SamplingSchedule make_euler_schedule(double shift, int64_t num_steps) {
  check(shift, num_steps);
  const double lowest = shifted_fp32(1.0F / kNumTrainTimesteps, static_cast<float>(shift));
  SamplingSchedule schedule;
  for (double timestep : linspace(kNumTrainTimesteps, lowest * kNumTrainTimesteps, num_steps)) {
    const double sigma = round_to_fp32(shifted(timestep / kNumTrainTimesteps, shift));
    schedule.sigmas.push_back(sigma);
    schedule.timesteps.push_back(static_cast<float>(sigma) *
                                 static_cast<float>(kNumTrainTimesteps));
  }
  schedule.sigmas.push_back(0.0);
  return schedule;
}

SamplingSchedule make_unipc_schedule(double shift, int64_t num_steps) {
  check(shift, num_steps);
  const double highest =
      shifted_fp32(static_cast<float>(1.0 - 1.0 / kNumTrainTimesteps), static_cast<float>(shift));
  std::vector<double> sigmas = linspace(highest, 0.0, num_steps + 1);
  sigmas.pop_back();
  for (double& sigma : sigmas) sigma = shifted(sigma, shift);
  return with_truncated_timesteps(sigmas);
}

SamplingSchedule make_diffusers_unipc_schedule(double shift, int64_t num_steps) {
  check(shift, num_steps);
  constexpr double kMargin = 1e-6;
  std::vector<double> sigmas = linspace(1.0, 1.0 / kNumTrainTimesteps, num_steps + 1);
  sigmas.pop_back();
  for (double& sigma : sigmas) sigma = shifted(sigma, shift);
  if (std::abs(sigmas.front() - 1.0) < kMargin) sigmas.front() -= kMargin;
  return with_truncated_timesteps(sigmas);
}

}  // namespace zoetrope
