#include "zoetrope/data/loader.h"

#include <algorithm>
#include <chrono>

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>
#include <omp.h>

#include "zoetrope/base/error.h"
#include "zoetrope/data/text_dropout.h"

namespace zoetrope {
namespace {

void check(const LoaderOptions& options) {
  if (options.num_workers < 0) {
    fail<ConfigError>("training.data.dataloader_num_workers: must be at least 0, but got {}",
                      options.num_workers);
  }
  if (options.text_length < 1)
    fail<ConfigError>("loader: text length must be positive, but got {}", options.text_length);
  if (options.num_ahead < 1) {
    fail<ConfigError>("loader: at least one batch must be read ahead, but got {}",
                      options.num_ahead);
  }
  if (!(options.text_dropout_rate >= 0.0 && options.text_dropout_rate <= 1.0)) {
    fail<ConfigError>("training.data.training_cfg_rate: must be in [0, 1], but got {}",
                      options.text_dropout_rate);
  }
}

const char* order_name(SampleOrderKind kind) {
  return kind == SampleOrderKind::kKeyed ? "keyed" : "fastvideo";
}

}  // namespace

DataLoader::DataLoader(const ParquetDataset& dataset, const SampleOrderOptions& order,
                       const LoaderOptions& options)
    : dataset_(dataset), options_(options), order_(dataset.num_rows(), order) {
  check(options);
  options_.num_ahead = std::max(options.num_ahead, options.num_workers);
  start();
}

DataLoader::~DataLoader() {
  stop();
}

void DataLoader::start() {
  stopping_ = false;
  read_start_ = next_start_;
  const int64_t num_threads = std::max<int64_t>(1, options_.num_workers);
  for (int64_t i = 0; i < num_threads; ++i) threads_.emplace_back([this] { work(); });
}

void DataLoader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  finished_.clear();
}

void DataLoader::work() {
  // Rows are small: one core each, and none of the training's. ATen sets a thread's number on its
  // first use, so that comes first.
  at::get_num_threads();
  omp_set_num_threads(1);
  std::unique_lock lock(mutex_);
  for (;;) {
    // Counted from the caller's position, so that a slow batch never lets the others run away from
    // it.
    room_changed_.wait(lock, [this] {
      return stopping_ ||
             read_start_ < next_start_ + options_.num_ahead * order_.global_batch_size();
    });
    if (stopping_) return;
    const int64_t start = read_start_;
    read_start_ += order_.global_batch_size();
    const std::vector<SampleSlot> slots = order_.batch_at(start);
    lock.unlock();
    Finished finished;
    try {
      finished.batch = make_batch(slots);
    } catch (const std::exception&) {
      finished.error = std::current_exception();
    }
    lock.lock();
    finished_[start] = std::move(finished);
    finished_changed_.notify_one();
  }
}

Batch DataLoader::make_batch(const std::vector<SampleSlot>& slots) const {
  std::vector<LoadedSample> samples;
  for (const SampleSlot& slot : slots) {
    LoadedSample sample = load_sample(dataset_, slot.row);
    sample.global_index = slot.global_index;
    sample.drop_text =
        drops_text(slot, order_.options().kind, order_.options().seed, options_.text_dropout_rate);
    samples.push_back(std::move(sample));
  }
  Batch batch = collate(std::move(samples), dataset_.schema(), collate_options());
  batch.epoch = slots.front().epoch;
  return batch;
}

Batch DataLoader::next() {
  const auto began = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  finished_changed_.wait(lock, [this] { return finished_.contains(next_start_); });
  data_wait_sec_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  Finished finished = std::move(finished_.extract(next_start_).mapped());
  next_start_ += order_.global_batch_size();
  lock.unlock();
  room_changed_.notify_all();
  if (finished.error) std::rethrow_exception(finished.error);
  return *std::move(finished.batch);
}

nlohmann::json DataLoader::state_dict() const {
  return {{"samples_taken", next_start_},
          {"num_rows", order_.num_rows()},
          {"seed", order_.options().seed},
          {"order", order_name(order_.options().kind)}};
}

void DataLoader::load_state_dict(const nlohmann::json& state) {
  nlohmann::json expected = state_dict();
  for (const char* key : {"num_rows", "seed", "order"}) {
    const nlohmann::json stored = state.value(key, nlohmann::json());
    if (stored != expected[key]) {
      fail<CheckpointError>(
          "data loader state: '{}' must be {} as in this run, but the checkpoint has {}; resume "
          "with "
          "the data set and data settings that it was written with",
          key, expected[key].dump(), stored.dump());
    }
  }
  const nlohmann::json taken = state.value("samples_taken", nlohmann::json());
  if (!taken.is_number_integer() || taken.get<int64_t>() < 0) {
    fail<CheckpointError>("data loader state: 'samples_taken' must be a number >= 0, but is {}",
                          taken.dump());
  }
  stop();
  next_start_ = taken.get<int64_t>();
  start();
}

}  // namespace zoetrope
