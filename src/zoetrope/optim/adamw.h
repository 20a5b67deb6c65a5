// AdamW over the flat groups of a ParameterStore in one pass: gradients are scaled (clipping),
// moments and fp32 masters updated, and the bf16 values that the forward pass reads written. Knows
// no schedule and no clipping rule. Source: Loshchilov and Hutter, "Decoupled Weight Decay
// Regularization" (2019); arithmetic as torch.optim.AdamW.
#pragma once

#include <vector>

#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 0.01;
  double eps = 1e-8;
};

class AdamW {
 public:
  /// Borrows `parameters`, which must be trainable; allocates the moments (zero). Throws Error when
  /// frozen or empty.
  AdamW(ParameterStore& parameters, const AdamWOptions& options);

  /// One update of every parameter with gradient * gradient_scale. Gradients are left as they are.
  void step(double learning_rate, double gradient_scale = 1.0);

  /// Updates so far.
  int64_t num_steps() const { return num_steps_; }

  /// Goes on as after `num_steps` updates.
  void set_num_steps(int64_t num_steps) { num_steps_ = num_steps; }

  /// `<parameter>.exp_avg` and `<parameter>.exp_avg_sq`: what is kept here of them, fp32 views of
  /// the live state.
  TensorShards moments() const;

 private:
  struct Moments {
    at::Tensor exp_avg;
    at::Tensor exp_avg_sq;
  };

  ParameterStore& parameters_;
  AdamWOptions options_;
  std::vector<Moments> moments_;  ///< flat, one pair per group
  int64_t num_steps_ = 0;
};

}  // namespace zoetrope
