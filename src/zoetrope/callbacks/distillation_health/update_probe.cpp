#include "zoetrope/callbacks/distillation_health/update_probe.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {
namespace {

constexpr int64_t kMaxElementsPerGroup = 65536;

at::Tensor sampled(const ParameterGroup& group) {
  const at::Tensor& flat = group.flat_master;
  const int64_t stride = (flat.size(0) + kMaxElementsPerGroup - 1) / kMaxElementsPerGroup;
  return flat.slice(0, 0, flat.size(0), stride);
}

}  // namespace

UpdateProbe::UpdateProbe(const ParameterStore& parameters) : parameters_(parameters) {
  at::NoGradGuard no_grad;
  for (const ParameterGroup& group : parameters.groups()) before_.push_back(sampled(group).clone());
}

at::Tensor UpdateProbe::measure() const {
  at::NoGradGuard no_grad;
  // Each group stands for all its elements, of which it may have sampled a part.
  std::vector<at::Tensor> sums;
  for (size_t i = 0; i < before_.size(); ++i) {
    const at::Tensor& before = before_[i];
    const at::Tensor after = sampled(parameters_.groups()[i]);
    const at::Tensor changed = after != before;
    const at::Tensor vanished =
        changed.logical_and(after.to(at::kBFloat16) == before.to(at::kBFloat16));
    const double weight = static_cast<double>(parameters_.groups()[i].num_elements) /
                          static_cast<double>(before.size(0));
    sums.push_back(
        at::stack({(after - before).square().sum(at::kDouble), before.square().sum(at::kDouble),
                   vanished.sum().to(at::kDouble), changed.sum().to(at::kDouble)}) *
        weight);
  }
  const at::Tensor total = at::stack(sums).sum(0);
  constexpr double kLeastSquare = 1e-30;  // of weights that are all zero
  const at::Tensor ratio = (total[0] / total[1].clamp_min(kLeastSquare)).sqrt();
  const at::Tensor vanished_share = total[2] / total[3].clamp_min(1.0);
  return at::stack({ratio, vanished_share}).to(at::kFloat);
}

}  // namespace zoetrope
