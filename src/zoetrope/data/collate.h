// Rows to a Batch: text dropout, padding of text, stacking with a check that the samples fit
// together.
#pragma once

#include <vector>

#include "zoetrope/data/batch.h"
#include "zoetrope/data/parquet_schema.h"

namespace zoetrope {

struct CollateOptions {
  int64_t text_length = 512;
  int64_t num_latent_frames = 0;  ///< a sample with fewer is refused; 0: any number
};

/// A row with what the loader knows of it.
struct LoadedSample {
  ParquetRow row;
  SampleInfo info;
  int64_t global_index = 0;
  bool drop_text = false;
};

/// Throws DataError naming the samples when shapes differ within the batch or when a sample has too
/// few latent frames.
Batch collate(std::vector<LoadedSample> samples, const ParquetSchema& schema,
              const CollateOptions& options);

}  // namespace zoetrope
