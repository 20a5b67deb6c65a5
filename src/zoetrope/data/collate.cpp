#include "zoetrope/data/collate.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

std::string list_shapes(const std::vector<LoadedSample>& samples, const std::string& name) {
  std::string text;
  for (const LoadedSample& sample : samples) {
    const auto found = sample.row.tensors.find(name);
    text += fmt::format(
        "{}{} has {}", text.empty() ? "" : ", ", sample.info.describe(),
        found == sample.row.tensors.end() ? "none" : format_shape(found->second.sizes()));
  }
  return text;
}

/// The samples' tensors `name` stacked; undefined when none of them has it.
at::Tensor stack(const std::vector<LoadedSample>& samples, const std::string& name) {
  std::vector<at::Tensor> tensors;
  for (const LoadedSample& sample : samples) {
    const auto found = sample.row.tensors.find(name);
    if (found != sample.row.tensors.end()) tensors.push_back(found->second);
  }
  if (tensors.empty()) return {};
  const bool same = std::ranges::all_of(
      tensors, [&](const at::Tensor& tensor) { return tensor.sizes() == tensors.front().sizes(); });
  if (!same || tensors.size() != samples.size()) {
    fail<DataError>(
        "batch: '{}' must have one shape in all samples of a batch, but {}; use data of one size "
        "or a "
        "train_batch_size of 1",
        name, list_shapes(samples, name));
  }
  return at::stack(tensors);
}

void stack_text(const std::vector<LoadedSample>& samples, int64_t text_length, Batch& batch) {
  const std::string name = "text_embedding";
  const auto width_of = [&](const LoadedSample& sample) {
    return sample.row.tensors.at(name).size(1);
  };
  const int64_t width = width_of(samples.front());
  for (const LoadedSample& sample : samples) {
    if (width_of(sample) != width) {
      fail<DataError>("batch: '{}' must have one width in all samples of a batch, but {}", name,
                      list_shapes(samples, name));
    }
  }
  const auto num_samples = static_cast<int64_t>(samples.size());
  batch.text_embedding_BLD = at::zeros({num_samples, text_length, width});
  batch.text_attention_mask_BL = at::zeros({num_samples, text_length});
  for (int64_t i = 0; i < num_samples; ++i) {
    const LoadedSample& sample = samples[static_cast<size_t>(i)];
    const at::Tensor& embedding_LD = sample.row.tensors.at(name);
    const int64_t length = std::min(text_length, embedding_LD.size(0));
    batch.text_attention_mask_BL[i].narrow(0, 0, length).fill_(1.0);
    if (!sample.drop_text) {
      batch.text_embedding_BLD[i].narrow(0, 0, length).copy_(embedding_LD.narrow(0, 0, length));
    }
  }
}

void check_latent_frames(const std::vector<LoadedSample>& samples, int64_t num_latent_frames) {
  for (const LoadedSample& sample : samples) {
    const int64_t frames = sample.row.tensors.at("vae_latent").size(1);
    if (frames < num_latent_frames) {
      fail<DataError>(
          "{}: 'vae_latent' must have at least num_latent_t = {} latent frames, but has {}; "
          "preprocess with "
          "more frames or lower training.data.num_latent_t",
          sample.info.describe(), num_latent_frames, frames);
    }
  }
}

}  // namespace

Batch collate(std::vector<LoadedSample> samples, const ParquetSchema& schema,
              const CollateOptions& options) {
  Batch batch;
  if (schema.has_tensor("vae_latent")) check_latent_frames(samples, options.num_latent_frames);
  for (const TensorColumn& column : schema.tensors) {
    if (column.name == "text_embedding") {
      stack_text(samples, options.text_length, batch);
      continue;
    }
    at::Tensor stacked = stack(samples, column.name);
    if (!stacked.defined()) continue;
    if (column.name == "vae_latent") {
      batch.vae_latent_BCTHW = std::move(stacked);
    } else {
      batch.others.emplace(column.name, std::move(stacked));
    }
  }
  for (LoadedSample& sample : samples) {
    batch.sample_indices.push_back(sample.global_index);
    batch.info.push_back(std::move(sample.info));
  }
  return batch;
}

}  // namespace zoetrope
