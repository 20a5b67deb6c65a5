// Defects of the reference, so that the rest of a run can be compared with it: it rounds the
// timesteps of some networks, while its noise and its conversions have the exact ones. Ours rounds
// none; these models do.
#pragma once

#include "zoetrope/models/causal_model.h"

namespace zoetrope::test {

/// The reference rounds the timesteps of whole passes of its game networks to bf16 (997 -> 996).
template <class Model>
class WithRoundedTimesteps : public Model {
 public:
  using Model::Model;
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override {
    return Model::predict_noise(noisy_BTCHW, timestep.to(at::kBFloat16).to(at::kFloat),
                                conditioning);
  }
};

/// The reference cuts the timesteps of streaming passes to integers (937.5 -> 937).
template <class Model>
class WithTruncatedTimesteps : public Model {
 public:
  using Model::Model;
  at::Tensor predict_noise_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                     const Conditioning& conditioning,
                                     const StreamingOptions& options) override {
    return Model::predict_noise_streaming(noisy_BTCHW, timestep.to(at::kLong).to(at::kFloat),
                                          conditioning, options);
  }
};

}  // namespace zoetrope::test
