// What the loader hands to a model: stacked tensors on the CPU and where each sample came from.
// Legend: B batch, C latent channels, T latent frames, H, W latent height and width, L text tokens,
// D text width.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// One row of the data, for messages and logs.
struct SampleInfo {
  std::string id;
  std::string caption;
  std::filesystem::path file;                ///< the parquet file
  int64_t row = 0;                           ///< row in that file
  int64_t dataset_row = 0;                   ///< row of the whole data set
  std::map<std::string, std::string> texts;  ///< every plain column of the row
  std::map<std::string, int64_t> integers;
  std::map<std::string, double> numbers;

  /// `sample 'video_0008' (row 3 of data/worker_0/data_chunk_1.parquet)`.
  std::string describe() const;
};

/// All tensors are fp32 on the CPU. Members that the data set does not have are undefined.
struct Batch {
  at::Tensor vae_latent_BCTHW;        ///< the VAE's mean as stored: not normalised, not cut to the
                                      ///< configured length
  at::Tensor text_embedding_BLD;      ///< padded with zeros or cut to the loader's text length; all
                                      ///< zeros where dropped
  at::Tensor text_attention_mask_BL;  ///< 1 for text, 0 for padding; not changed by text dropout
  std::map<std::string, at::Tensor>
      others;  ///< further tensors of the schema (`clip_feature`, ...), stacked
  std::vector<SampleInfo> info;
  std::vector<int64_t>
      sample_indices;  ///< place of each sample in the run's global order: unique over the run
  int64_t epoch = 0;   ///< of the first sample, from 0

  int64_t batch_size() const { return static_cast<int64_t>(info.size()); }
};

}  // namespace zoetrope
