#include "zoetrope/callbacks/validation_loss.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "zoetrope/data/dataset.h"
#include "zoetrope/data/loader.h"

namespace zoetrope {
namespace {

std::vector<Batch> read_samples(const DataConfig& data, const std::string& data_type,
                                int64_t num_samples) {
  const ParquetDataset dataset(data.data_path.sources, parquet_schema(data_type));
  SampleOrderOptions order;
  order.seed = data.seed;
  LoaderOptions options;
  options.num_latent_frames = data.num_latent_t;
  DataLoader loader(dataset, order, options);
  std::vector<Batch> batches;
  for (int64_t i = 0; i < std::min(num_samples, dataset.num_rows()); ++i)
    batches.push_back(loader.next());
  return batches;
}

}  // namespace

std::vector<Metric> ValidationLoss::measure(ModelBase& model) {
  if (options_.num_samples == 0 || options_.num_timestep_bins == 0) return {};
  if (batches_.empty())
    batches_ = read_samples(options_.data, model.data_type(), options_.num_samples);
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> sums(static_cast<size_t>(options_.num_timestep_bins));
  const double bin_width = 1000.0 / static_cast<double>(options_.num_timestep_bins);
  for (const Batch& raw : batches_) {
    const TrainingBatch batch = model.prepare_batch(raw, LatentsSource::kData);
    const at::Tensor velocity_BTCHW = batch.noise_BTCHW - batch.latents_BTCHW;
    for (size_t bin = 0; bin < sums.size(); ++bin) {
      const at::Tensor timestep_B =
          at::full_like(batch.timesteps_B, (static_cast<double>(bin) + 0.5) * bin_width);
      const at::Tensor noisy_BTCHW =
          model.add_noise(batch.latents_BTCHW, batch.noise_BTCHW, timestep_B);
      const at::Tensor predicted_BTCHW =
          model.predict_noise(noisy_BTCHW, timestep_B, batch.conditional);
      const at::Tensor loss = at::mse_loss(predicted_BTCHW.to(at::kFloat), velocity_BTCHW);
      sums[bin] = sums[bin].defined() ? sums[bin] + loss : loss;
    }
  }
  const at::Tensor means =
      (at::stack(sums) / static_cast<double>(batches_.size())).to(at::kCPU, at::kDouble);
  std::vector<Metric> metrics = {{"validation/loss", means.mean().item<double>()}};
  for (size_t bin = 0; bin < sums.size(); ++bin) {
    const double middle = (static_cast<double>(bin) + 0.5) * bin_width;
    metrics.push_back({fmt::format("validation/loss/t{:.0f}", middle),
                       means[static_cast<int64_t>(bin)].item<double>()});
  }
  return metrics;
}

}  // namespace zoetrope
