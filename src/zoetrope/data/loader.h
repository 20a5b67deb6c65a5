// Batches in a fixed order, read ahead by background threads. The same batches come whatever the
// number of threads, and whether a run was stopped and resumed. Knows no device and no model.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "zoetrope/data/batch.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/data/row_reader.h"
#include "zoetrope/data/sample_order.h"

namespace zoetrope {

struct LoaderOptions {
  int64_t num_workers =
      0;  ///< reading threads; 0 is one thread, since batches are always read ahead
  int64_t text_length = 512;  ///< tokens that text is padded or cut to
  double text_dropout_rate = 0.0;
  int64_t num_latent_frames = 0;  ///< a sample with fewer is refused; 0: any number
  int64_t num_ahead = 4;          ///< batches that are read ahead; at least one for each thread
};

class DataLoader {
 public:
  /// `dataset` must outlive this. Reading starts at once. Throws ConfigError when an option is out
  /// of range.
  DataLoader(const ParquetDataset& dataset, const SampleOrderOptions& order,
             const LoaderOptions& options);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  /// The next batch of this group; never ends. Throws DataError that names the sample when a row is
  /// faulty, or when the samples of a batch have different shapes; a further call goes on with the
  /// batch after it.
  Batch next();

  /// Seconds that next() has waited for data since the loader was made.
  double data_wait_sec() const { return data_wait_sec_; }
  const ParquetDataset& dataset() const { return dataset_; }
  /// The rows in the form of next(), by number.
  RowReader rows() const { return {dataset_, collate_options()}; }
  int64_t samples_per_epoch() const { return order_.samples_per_epoch(); }

  /// The position behind the last batch that next() gave, with what it was counted over.
  nlohmann::json state_dict() const;
  /// Continues there, also with another number of groups or another batch size. Throws
  /// CheckpointError when the data set, the seed or the kind of order is another one than the
  /// state's.
  void load_state_dict(const nlohmann::json& state);

 private:
  struct Finished {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };

  void start();
  void stop();
  void work();
  CollateOptions collate_options() const {
    return {options_.text_length, options_.num_latent_frames};
  }
  Batch make_batch(const std::vector<SampleSlot>& slots) const;

  const ParquetDataset& dataset_;
  LoaderOptions options_;
  SampleOrder order_;       // guarded by mutex_ while threads run
  int64_t next_start_ = 0;  // global index where the next batch for the caller begins
  double data_wait_sec_ = 0.0;

  std::mutex mutex_;
  std::condition_variable finished_changed_;
  std::condition_variable room_changed_;
  int64_t read_start_ = 0;  // global index where the next batch to read begins
  bool stopping_ = false;
  std::map<int64_t, Finished> finished_;  // by global index of the batch
  std::vector<std::thread> threads_;
};

}  // namespace zoetrope
