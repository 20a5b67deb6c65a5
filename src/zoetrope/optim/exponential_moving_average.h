// An exponential moving average of a network's fp32 parameters, kept in flat buffers like theirs.
// Source: Polyak averaging as in FastVideo callbacks/ema.py.
#pragma once

#include <vector>

#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

class ExponentialMovingAverage {
 public:
  /// Borrows `parameters`; the average starts as a copy of them as they are now. Throws Error for a
  /// frozen network.
  ExponentialMovingAverage(ParameterStore& parameters, double decay);

  /// average = decay * average + (1 - decay) * parameters.
  void update();

  /// Exchanges the average with the live parameters (masters and values): once before the averaged
  /// network is used, once after. Every bit returns.
  void swap();

  /// What is kept here of the average: fp32 views.
  TensorShards shards() const { return parameters_.shards_of(averages_); }
  /// The whole average by parameter name, as ParameterStore::tensors().
  NamedTensors tensors(bool needed = true) const {
    return parameters_.tensors_of(averages_, needed);
  }

 private:
  ParameterStore& parameters_;
  double decay_;
  std::vector<at::Tensor> averages_;  ///< flat, one per group
};

}  // namespace zoetrope
