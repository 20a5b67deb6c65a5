// Random numbers by name instead of by stream: a draw is identified by (seed, purpose, sample or
// step), so that noise and timesteps do not depend on ranks, workers, accumulation or on where a
// run was resumed, and resuming needs no generator state
// (docs/decisions/0002-keyed-random-numbers.md). Tests replay recorded draws through the same
// interface.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// Names one draw. With `samples`, row b of the result belongs to samples[b] alone; without, the
/// whole result belongs to the step.
struct DrawKey {
  std::string_view purpose;      ///< `sft.noise`, `sft.timestep`, ...
  std::vector<int64_t> samples;  ///< global sample index of each row (unique over the run)
  int64_t step = 0;              ///< used only without samples
};

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  /// Standard normal fp32 of `shape` on the CPU; shape[0] must equal samples.size() when there are
  /// samples.
  virtual at::Tensor normal(const DrawKey& key, at::IntArrayRef shape) = 0;
  /// Uniform on [0, 1), fp32, CPU.
  virtual at::Tensor uniform(const DrawKey& key, at::IntArrayRef shape) = 0;
  /// Uniform integers of [low, high), int64, CPU.
  virtual at::Tensor integers(const DrawKey& key, int64_t low, int64_t high,
                              at::IntArrayRef shape) = 0;
};

/// The source of training runs: each row's generator is seeded by a hash of (seed, purpose, sample
/// or step).
class KeyedRandomSource : public RandomSource {
 public:
  explicit KeyedRandomSource(int64_t seed) : seed_(seed) {}
  at::Tensor normal(const DrawKey& key, at::IntArrayRef shape) override;
  at::Tensor uniform(const DrawKey& key, at::IntArrayRef shape) override;
  at::Tensor integers(const DrawKey& key, int64_t low, int64_t high,
                      at::IntArrayRef shape) override;

 private:
  int64_t seed_;
};

/// 64-bit hash of a draw's name: FNV-1a over the purpose, mixed with the numbers by SplitMix64's
/// finaliser.
uint64_t draw_seed(int64_t seed, std::string_view purpose, int64_t index);

/// One number, uniform on [0, 1), of the draw with this name.
double draw_uniform(int64_t seed, std::string_view purpose, int64_t index);

}  // namespace zoetrope
