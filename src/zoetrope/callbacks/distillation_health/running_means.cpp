#include "zoetrope/callbacks/distillation_health/running_means.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {
namespace {

const std::string kSum = "sum_";
const std::string kCount = "count_";

}  // namespace

void RunningMeans::add(const std::string& name, const at::Tensor& values) {
  at::NoGradGuard no_grad;
  const at::Tensor added = values.detach().to(at::kDouble);
  Sum& sum = sums_[name];
  // A restored sum comes from the host.
  sum.total = sum.count == 0 ? added : sum.total.to(added.device()) + added;
  ++sum.count;
}

RunningMeans::Values RunningMeans::read() {
  if (sums_.empty()) return {};
  std::vector<at::Tensor> means;
  for (const auto& [name, sum] : sums_) means.push_back(sum.total / sum.count);
  // Values of a step whose tensors are elsewhere than the others', as in a restored sum.
  for (at::Tensor& mean : means) mean = mean.to(means.front().device());
  const at::Tensor on_host = at::cat(means).to(at::kCPU);
  const double* next = on_host.const_data_ptr<double>();
  Values values;
  for (const auto& [name, sum] : sums_) {
    values.emplace(name, std::vector<double>(next, next + sum.total.size(0)));
    next += sum.total.size(0);
  }
  sums_.clear();
  return values;
}

StateDict RunningMeans::state() const {
  StateDict state;
  for (const auto& [name, sum] : sums_) {
    state.tensors.emplace_back(kSum + name, sum.total);
    state.scalars.emplace_back(kCount + name, sum.count);
  }
  return state;
}

void RunningMeans::restore(const StateDict& state) {
  for (const auto& [key, total] : state.tensors) {
    if (key.starts_with(kSum)) sums_[key.substr(kSum.size())].total = total;
  }
  for (const auto& [key, count] : state.scalars) {
    if (key.starts_with(kCount)) sums_[key.substr(kCount.size())].count = std::get<int64_t>(count);
  }
}

}  // namespace zoetrope
