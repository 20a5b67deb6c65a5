// The flow-matching loss of fixed samples at fixed noise and fixed timesteps: comparable from step
// to step and from run to run, which the training loss (random timesteps) is not.
#pragma once

#include <memory>
#include <vector>

#include "zoetrope/callbacks/callback.h"

namespace zoetrope {

class ValidationLoss {
 public:
  struct Options {
    DataConfig data;  ///< where the samples come from; the first ones of its keyed order
    int64_t num_samples = 0;
    int64_t num_timestep_bins = 0;
  };

  /// Reads the samples at the first measure().
  explicit ValidationLoss(Options options) : options_(std::move(options)) {}

  /// Mean squared error of the velocity at the middle of each timestep bin, by the name
  /// `validation/loss/t<middle>`, and their mean as `validation/loss`. The noise of a sample is the
  /// one that the run's random source gives it.
  std::vector<Metric> measure(ModelBase& model);

 private:
  Options options_;
  std::vector<Batch> batches_;
};

}  // namespace zoetrope
