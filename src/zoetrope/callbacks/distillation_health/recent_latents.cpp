#include "zoetrope/callbacks/distillation_health/recent_latents.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {
namespace {

// Few enough that all of them are newer than a collapse after as many steps, enough (28 pairs) for
// a steady mean.
constexpr int64_t kMaxClips = 8;
constexpr int64_t kMaxElements = 65536;

}  // namespace

void RecentLatents::add(const at::Tensor& latents_BTCHW) {
  at::NoGradGuard no_grad;
  const at::Tensor flat = latents_BTCHW.detach().flatten(1).to(at::kFloat);
  const int64_t stride = (flat.size(1) + kMaxElements - 1) / kMaxElements;
  const at::Tensor added = flat.slice(1, 0, flat.size(1), stride);
  const bool fits = rows_KN_.defined() && rows_KN_.size(1) == added.size(1);
  const at::Tensor all = fits ? at::cat({rows_KN_.to(added.device()), added}) : added.clone();
  const int64_t num_kept = std::min(all.size(0), kMaxClips);
  rows_KN_ = all.narrow(0, all.size(0) - num_kept, num_kept).contiguous();
}

at::Tensor RecentLatents::mean_distance() const {
  at::NoGradGuard no_grad;
  if (!rows_KN_.defined() || rows_KN_.size(0) < 2) return {};
  const double num_elements = static_cast<double>(rows_KN_.size(1));
  return at::pdist(rows_KN_).mean().div(std::sqrt(num_elements)).view(1);
}

}  // namespace zoetrope
