// How large one optimizer update is against the weights, and how much of it bf16 weights would
// have lost. Knows no optimizer. The share is for runs that keep bf16 weights elsewhere: here the
// masters are fp32, and no update is lost.
#pragma once

#include <vector>

#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

class UpdateProbe {
 public:
  /// Copies the masters before the update; of large groups an evenly spaced part. Borrows
  /// `parameters`.
  explicit UpdateProbe(const ParameterStore& parameters);

  /// After the update: fp32 [2] on the device, without waiting for it. ||change|| / ||weights
  /// before||, and the share of changed weights that are the same before and after when rounded to
  /// bf16.
  at::Tensor measure() const;

 private:
  const ParameterStore& parameters_;
  std::vector<at::Tensor> before_;  ///< of each group
};

}  // namespace zoetrope
