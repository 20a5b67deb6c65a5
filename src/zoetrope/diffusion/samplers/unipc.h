// UniPC, the multistep predictor-corrector, for flow matching with x0 prediction, orders 1 to 3,
// both choices of B(h). Source: Zhao et al. 2023 (UniPC), algorithm 5 to 8.
#pragma once

#include <deque>
#include <optional>

#include "zoetrope/diffusion/samplers/sampler.h"

namespace zoetrope {

enum class UniPcSolver { kBh1, kBh2 };

struct UniPcOptions {
  int64_t order = 2;
  UniPcSolver solver = UniPcSolver::kBh2;
};

/// The order is lower in the first and in the last steps; the corrector acts from the second step
/// on.
class UniPc : public Sampler {
 public:
  /// Throws Error when the order is not 1, 2 or 3.
  explicit UniPc(SamplingSchedule schedule, UniPcOptions options = {});
  at::Tensor step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) override;

 private:
  /// The sample at level `to`, from `sample` at level to - 1 and the x0 predictions of `order`
  /// levels from there upwards; with `clean_at_target` (x0 predicted at `to`) the corrector,
  /// without it the predictor.
  at::Tensor update(const at::Tensor& sample, int64_t to, int64_t order,
                    const std::optional<at::Tensor>& clean_at_target) const;
  /// log(alpha / sigma) of level i.
  double log_snr(int64_t i) const;

  UniPcOptions options_;
  int64_t next_step_ = 0;
  int64_t last_order_ = 0;
  at::Tensor last_sample_;         ///< the corrected sample that the last predictor started from
  std::deque<at::Tensor> cleans_;  ///< x0 predictions, newest first
};

}  // namespace zoetrope
