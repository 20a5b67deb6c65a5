// What samplers share: the list of noise levels of one run, and the step from one level to the
// next. Knows no network: the caller evaluates it at timesteps()[i] and passes its output to
// step(). One sampler object serves one run after another.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// The noise levels of one sampling run of n steps. Kept on the host, so that stepping never waits
/// for the device.
struct SamplingSchedule {
  std::vector<double> timesteps;  ///< [n], descending, what the network is given
  std::vector<double> sigmas;     ///< [n + 1], descending, ends with 0; values of fp32

  int64_t num_steps() const { return static_cast<int64_t>(timesteps.size()); }
};

class Sampler {
 public:
  explicit Sampler(SamplingSchedule schedule) : schedule_(std::move(schedule)) {}
  virtual ~Sampler() = default;
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  const SamplingSchedule& schedule() const { return schedule_; }
  int64_t num_steps() const { return schedule_.num_steps(); }
  /// The timestep at which step `i` evaluates the network.
  double timestep(int64_t i) const { return schedule_.timesteps.at(i); }

  /// The sample at level i + 1, from `sample` at level i and the network's velocity there. Both of
  /// the same shape; fp32 inside, returned in the type of `sample`. Steps must be taken in order
  /// from 0, which begins another run; throws Error otherwise.
  virtual at::Tensor step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) = 0;

 private:
  SamplingSchedule schedule_;
};

}  // namespace zoetrope
