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

/// Of a group's own shard: the squares of parameters that every tensor-parallel rank has whole.
double whole_square_sum(const ParameterStore& parameters, const ParameterGroup& group) {
  const int64_t kept = group.flat_gradient.numel();
  const int64_t first = parameters.options().shard_index * kept;
  double total = 0;
  for (const Parameter& parameter : group.parameters) {
    const int64_t begin = std::max(parameter.offset, first);
    const int64_t end = std::min(parameter.offset + parameter.value.numel(), first + kept);
    if (begin >= end || parameters.part(parameter.name)) continue;
    total += group.flat_gradient.narrow(0, begin - first, end - begin)
                 .to(at::kDouble)
                 .square()
                 .sum()
                 .item<double>();
  }
  return total;
}

/// The sum of squares of each group over all shards of this tensor-parallel rank, block by block.
std::vector<double> sums_over_shards(const ParameterStore& parameters) {
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

/// The sum of squares of each group over all ranks; what tensor-parallel ranks have in common
/// counts once.
std::vector<double> square_sums(const ParameterStore& parameters) {
  std::vector<double> totals = sums_over_shards(parameters);
  const auto parts = parameters.residency().gather_part_numbers(totals);
  if (parts.size() == 1) return totals;
  std::vector<double> own_common;
  for (const ParameterGroup& group : parameters.groups())
    own_common.push_back(whole_square_sum(parameters, group));
  const auto common = parameters.residency().gather_numbers(own_common);
  for (size_t group = 0; group < totals.size(); ++group) {
    double all = 0;
    for (const std::vector<double>& part : parts) all += part[group];
    double once = 0;
    for (const std::vector<double>& shard : common) once += shard[group];
    totals[group] = all - once * static_cast<double>(parts.size() - 1);
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
