// Rows of a data set by number, as batches: for work on every row outside the order of training.
// Knows no shuffling and drops no text.
#pragma once

#include <vector>

#include "zoetrope/data/collate.h"
#include "zoetrope/data/dataset.h"

namespace zoetrope {

/// Row `row` with what is known of it but its place in an order. Throws DataError that names the
/// sample.
LoadedSample load_sample(const ParquetDataset& dataset, int64_t row);

class RowReader {
 public:
  /// `dataset` must outlive this.
  RowReader(const ParquetDataset& dataset, CollateOptions options)
      : dataset_(dataset), options_(options) {}

  const ParquetDataset& dataset() const { return dataset_; }
  int64_t num_rows() const { return dataset_.num_rows(); }
  /// The rows `rows` as a batch, whose sample indices are the rows. Throws as DataLoader::next.
  Batch read(const std::vector<int64_t>& rows) const;

 private:
  const ParquetDataset& dataset_;
  CollateOptions options_;
};

}  // namespace zoetrope
