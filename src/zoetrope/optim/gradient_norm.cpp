#include "zoetrope/optim/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>

#include "zoetrope/kernels/flat_updates.h"

namespace zoetrope {
namespace {

/// Of blocks of kernels::kSumBlock elements, whatever shard they are in.
at::Tensor block_sums(const at::Tensor& flat) {
  if (flat.is_cpu()) {
    const std::vector<double> sums = kernels::sums_of_squares(flat);
    return at::tensor(sums, at::kDouble);
  }
  const int64_t padding =
      (kernels::kSumBlock - flat.numel() % kernels::kSumBlock) % kernels::kSumBlock;
  return at::constant_pad_nd(flat.to(at::kFloat), {0, padding})
      .square()
      .view({-1, kernels::kSumBlock})
      .sum(1, /*keepdim=*/false, at::kDouble);
}

/// The sum of squares of each group over all shards, block by block.
std::vector<double> square_sums(const ParameterStore& parameters) {
  std::vector<at::Tensor> sums;
  for (const ParameterGroup& group : parameters.groups())
    sums.push_back(block_sums(group.flat_gradient));
  const at::Tensor on_host = at::cat(sums).to(at::kCPU);
  const double* begin = on_host.const_data_ptr<double>();
  const auto shards = parameters.residency().gather_numbers({begin, begin + on_host.numel()});
  std::vector<double> totals;
  size_t first = 0;
  for (const at::Tensor& group_sums : sums) {
    const auto count = static_cast<size_t>(group_sums.numel());
    double total = 0;
    for (const std::vector<double>& shard : shards) {
      for (size_t block = first; block < first + count; ++block) total += shard[block];
    }
    totals.push_back(total);
    first += count;
  }
  return totals;
}

}  // namespace

double global_gradient_norm(const ParameterStore& parameters) {
  const std::vector<double> sums = square_sums(parameters);
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

std::vector<std::pair<std::string, double>> module_gradient_norms(
    const ParameterStore& parameters) {
  const std::vector<double> sums = square_sums(parameters);
  std::vector<std::pair<std::string, double>> norms;
  for (size_t i = 0; i < sums.size(); ++i)
    norms.emplace_back(parameters.groups()[i].name, std::sqrt(sums[i]));
  return norms;
}

double clip_coefficient(double norm, double max_norm) {
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace zoetrope
