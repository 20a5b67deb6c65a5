// The latents of the last few clips, for how much clips differ from each other when a micro-batch
// has but one. Knows no threshold. Legend: K clips, N kept elements of each.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope {

class RecentLatents {
 public:
  /// Keeps the last clips of the batch, on its device; of large clips an evenly spaced part, so
  /// that memory and checkpoints stay small.
  void add(const at::Tensor& latents_BTCHW);
  /// Root mean square difference of two clips, averaged over all pairs: fp32 [1]; undefined for
  /// fewer than two clips. Does not wait for the device.
  at::Tensor mean_distance() const;

  /// fp32 [K, N], oldest first; undefined when there is none.
  const at::Tensor& rows() const { return rows_KN_; }
  /// Takes what rows() gave.
  void restore(at::Tensor rows_KN) { rows_KN_ = std::move(rows_KN); }

 private:
  at::Tensor rows_KN_;
};

}  // namespace zoetrope
