#include "zoetrope/optim/gradient_norm.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "zoetrope/kernels/flat_updates.h"

namespace zoetrope {
namespace {

at::Tensor square_sum(const at::Tensor& flat) {
  if (flat.is_cpu()) return at::scalar_tensor(kernels::sum_of_squares(flat), at::kDouble);
  return flat.to(at::kFloat).square().sum(at::kDouble);
}

}  // namespace

at::Tensor gradient_square_sums(const ParameterStore& parameters) {
  std::vector<at::Tensor> sums;
  for (const ParameterGroup& group : parameters.groups())
    sums.push_back(square_sum(group.flat_gradient));
  return at::stack(sums);
}

double global_gradient_norm(const ParameterStore& parameters) {
  return std::sqrt(gradient_square_sums(parameters).sum().item<double>());
}

std::vector<std::pair<std::string, double>> module_gradient_norms(
    const ParameterStore& parameters) {
  const at::Tensor sums = gradient_square_sums(parameters).to(at::kCPU);
  std::vector<std::pair<std::string, double>> norms;
  for (size_t i = 0; i < parameters.groups().size(); ++i) {
    norms.emplace_back(parameters.groups()[i].name, std::sqrt(sums.const_data_ptr<double>()[i]));
  }
  return norms;
}

double clip_coefficient(double norm, double max_norm) {
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace zoetrope
