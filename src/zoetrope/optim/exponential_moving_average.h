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

  /// The average by parameter name: fp32 views.
  NamedTensors tensors() const;
  /// What tensors() gives.
  NamedTensors state_dict() const { return tensors(); }
  /// Copies a state_dict of the same parameters. Throws CheckpointError when a tensor is missing or
  /// misshapen.
  void load_state_dict(const NamedTensors& state);

 private:
  ParameterStore& parameters_;
  double decay_;
  std::vector<at::Tensor> averages_;  ///< flat, one per group
};

}  // namespace zoetrope
