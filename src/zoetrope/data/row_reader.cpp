#include "zoetrope/data/row_reader.h"

#include <tuple>

namespace zoetrope {

LoadedSample load_sample(const ParquetDataset& dataset, int64_t row) {
  LoadedSample sample;
  sample.row = dataset.read(row);
  std::tie(sample.info.file, sample.info.row) = dataset.locate(row);
  sample.info.dataset_row = row;
  sample.info.id = sample.row.text("id");
  sample.info.caption = sample.row.text("caption");
  sample.info.texts = std::move(sample.row.texts);
  sample.info.integers = std::move(sample.row.integers);
  sample.info.numbers = std::move(sample.row.numbers);
  return sample;
}

Batch RowReader::read(const std::vector<int64_t>& rows) const {
  std::vector<LoadedSample> samples;
  for (const int64_t row : rows) {
    samples.push_back(load_sample(dataset_, row));
    samples.back().global_index = row;
  }
  return collate(std::move(samples), dataset_.schema(), options_);
}

}  // namespace zoetrope
