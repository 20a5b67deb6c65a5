// Small inputs for tests of methods on the fake model.
#pragma once

#include <ATen/ATen.h>

#include "zoetrope/data/batch.h"

namespace zoetrope::test {

/// Latents [B, 2, T, 2, 2] between -1 and 1; samples 10, 11, ...
inline Batch make_latent_batch(int64_t batch_size, int64_t num_frames = 1) {
  Batch batch;
  batch.vae_latent_BCTHW =
      at::linspace(-1, 1, batch_size * num_frames * 8).reshape({batch_size, 2, num_frames, 2, 2});
  batch.info.resize(static_cast<size_t>(batch_size));
  for (int64_t i = 0; i < batch_size; ++i) batch.sample_indices.push_back(10 + i);
  return batch;
}

}  // namespace zoetrope::test
