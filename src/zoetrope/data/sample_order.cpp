#include "zoetrope/data/sample_order.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {
namespace {

std::vector<int64_t> draw_permutation(int64_t size, uint64_t seed) {
  const at::Tensor drawn = at::randperm(size, at::detail::createCPUGenerator(seed), at::kLong);
  const int64_t* begin = drawn.const_data_ptr<int64_t>();
  return {begin, begin + size};
}

int64_t count_samples_per_epoch(int64_t num_rows, const SampleOrderOptions& options) {
  if (options.kind == SampleOrderKind::kKeyed) return num_rows;
  const int64_t global_batch = options.batch_size * options.num_groups;
  const int64_t whole = num_rows / global_batch * global_batch;
  return options.drop_last || whole == num_rows ? whole : whole + global_batch;
}

}  // namespace

SampleOrder::SampleOrder(int64_t num_rows, const SampleOrderOptions& options)
    : num_rows_(num_rows), options_(options) {
  if (num_rows < 1)
    fail<DataError>("sample order: must have at least one row, but got {}", num_rows);
  if (options.batch_size < 1) {
    fail<ConfigError>("training.data.train_batch_size: must be at least 1, but got {}",
                      options.batch_size);
  }
  if (options.num_groups < 1 || options.group_index < 0 ||
      options.group_index >= options.num_groups) {
    fail<ConfigError>("sample order: the group must be one of {}, but got {}", options.num_groups,
                      options.group_index);
  }
  samples_per_epoch_ = count_samples_per_epoch(num_rows, options);
  if (samples_per_epoch_ == 0) {
    fail<DataError>(
        "sample order: FastVideo's order must have at least one whole global batch of {} x {} "
        "samples, but "
        "there are {} rows; use a smaller train_batch_size or the keyed order",
        options.num_groups, options.batch_size, num_rows);
  }
}

const std::vector<int64_t>& SampleOrder::permutation(int64_t epoch) {
  const bool keyed = options_.kind == SampleOrderKind::kKeyed;
  const int64_t key = keyed ? epoch : 0;
  for (const auto& [known, rows] : permutations_) {
    if (known == key) return rows;
  }
  std::vector<int64_t> rows =
      draw_permutation(num_rows_, keyed ? draw_seed(options_.seed, "data.order", epoch)
                                        : static_cast<uint64_t>(options_.seed));
  if (!keyed) {
    for (size_t next = 0; std::ssize(rows) < samples_per_epoch_; ++next) rows.push_back(rows[next]);
  }
  if (permutations_.size() >= 2) permutations_.pop_front();
  return permutations_.emplace_back(key, std::move(rows)).second;
}

std::vector<SampleSlot> SampleOrder::batch_at(int64_t start) {
  std::vector<SampleSlot> slots;
  const bool keyed = options_.kind == SampleOrderKind::kKeyed;
  for (int64_t item = 0; item < options_.batch_size; ++item) {
    const int64_t place = keyed ? options_.group_index * options_.batch_size + item
                                : options_.group_index + item * options_.num_groups;
    const int64_t index = start + place;
    const int64_t epoch = index / samples_per_epoch_;
    const int64_t row = permutation(epoch)[static_cast<size_t>(index % samples_per_epoch_)];
    slots.push_back({row, epoch, index});
  }
  return slots;
}

}  // namespace zoetrope
