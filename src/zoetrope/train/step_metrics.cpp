#include "zoetrope/train/step_metrics.h"

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

std::vector<double> to_host(const std::vector<at::Tensor>& scalars) {
  std::vector<at::Tensor> doubles;
  doubles.reserve(scalars.size());
  for (const at::Tensor& scalar : scalars) doubles.push_back(scalar.to(at::kDouble));
  const at::Tensor values = at::stack(doubles).to(at::kCPU);
  const double* begin = values.const_data_ptr<double>();
  return {begin, begin + values.numel()};
}

}  // namespace

void StepMetrics::add(const StepOutput& output) {
  loss_names_.clear();
  for (const auto& [name, loss] : output.losses) {
    loss_names_.push_back(name);
    losses_.push_back(loss);
  }
  metric_names_.clear();
  for (const auto& [name, value] : output.metrics) {
    metric_names_.push_back(name);
    metrics_.push_back(value);
  }
}

StepMetrics::Means StepMetrics::means(const Mesh& mesh) const {
  std::vector<double> own = to_host(losses_);
  const size_t num_losses = loss_names_.size();
  const size_t num_rounds = own.size() / num_losses;
  const size_t metrics_begin = own.size();
  own.insert(own.end(), metrics_.begin(), metrics_.end());
  const std::vector<std::vector<double>> all = mesh.world->all_gather_numbers(own);
  const auto mean = [&](size_t first, size_t stride) {
    double sum = 0;
    for (size_t round = 0; round < num_rounds; ++round) {
      for (int64_t rank = 0; rank < mesh.sizes.num_ranks(); ++rank) {
        const MeshPlace place = mesh_place(mesh.sizes, rank);
        if (place.sequence == 0 && place.tensor == 0)
          sum += all[static_cast<size_t>(rank)][first + round * stride];
      }
    }
    return sum / static_cast<double>(num_rounds) /
           static_cast<double>(mesh.sizes.num_data_groups());
  };
  Means means;
  for (size_t i = 0; i < num_losses; ++i)
    means.losses.push_back({loss_names_[i], mean(i, num_losses)});
  for (size_t i = 0; i < metric_names_.size(); ++i)
    means.metrics.push_back({metric_names_[i], mean(metrics_begin + i, metric_names_.size())});
  return means;
}

}  // namespace zoetrope
