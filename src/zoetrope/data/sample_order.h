// Which row comes when: the run's endless global order of samples, and each data-parallel group's
// share of it. Knows no files. Every sample has a global index (its place in the order) that names
// its random draws, so order and draws do not depend on the number of groups, on workers or on
// where a run was resumed. Source: docs/decisions (keyed order); FastVideo's DP_SP_BatchSampler for
// SampleOrderKind::kFastVideo.
#pragma once

#include <cstdint>
#include <list>
#include <utility>
#include <vector>

namespace zoetrope {

enum class SampleOrderKind {
  kKeyed,      ///< a new permutation of all rows for each epoch, drawn from (seed, epoch); epochs
               ///< follow without a gap. Groups take batches one after the other, so that a batch
               ///< is the same whatever their number
  kFastVideo,  ///< one permutation for the whole run, whose rows the groups take in turn; rows that
               ///< do not fill a global batch are left out (drop_last)
};

struct SampleOrderOptions {
  SampleOrderKind kind = SampleOrderKind::kKeyed;
  int64_t seed = 0;
  int64_t batch_size = 1;  ///< of one group
  int64_t num_groups = 1;  ///< data-parallel groups (ranks that read different samples)
  int64_t group_index = 0;
  bool drop_last =
      true;  ///< kFastVideo only; false repeats the first rows to fill the last global batch
};

/// A sample's place in the order.
struct SampleSlot {
  int64_t row = 0;  ///< of the data set
  int64_t epoch = 0;
  int64_t global_index = 0;  ///< unique over the run and the same for every number of groups
};

class SampleOrder {
 public:
  /// Throws ConfigError when a number is out of range, and DataError when kFastVideo leaves no
  /// whole global batch.
  SampleOrder(int64_t num_rows, const SampleOrderOptions& options);

  const SampleOrderOptions& options() const { return options_; }
  int64_t num_rows() const { return num_rows_; }
  /// Samples of one epoch over all groups.
  int64_t samples_per_epoch() const { return samples_per_epoch_; }
  /// Samples that all groups together take in one step.
  int64_t global_batch_size() const { return options_.batch_size * options_.num_groups; }

  /// This group's samples of the global batch that begins at global index `start`. Not for several
  /// threads at once.
  std::vector<SampleSlot> batch_at(int64_t start);

 private:
  const std::vector<int64_t>& permutation(int64_t epoch);

  int64_t num_rows_;
  SampleOrderOptions options_;
  int64_t samples_per_epoch_;
  std::list<std::pair<int64_t, std::vector<int64_t>>>
      permutations_;  // a batch may touch two epochs
};

}  // namespace zoetrope
