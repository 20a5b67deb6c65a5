// The thread that hands queued records to the wandb helper and says what becomes of it. Knows
// records only as lines.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "zoetrope/tracking/wandb_process.h"
#include "zoetrope/tracking/wandb_queue.h"

namespace zoetrope {

class WandbFeeder {
 public:
  struct Options {
    size_t max_waiting_records = 10000;
    std::chrono::seconds finish_timeout{30};
    std::filesystem::path folder;  ///< named in messages
  };

  WandbFeeder(std::unique_ptr<WandbProcess> process, Options options);
  /// Stops the helper at once when `close` was not called.
  ~WandbFeeder();

  /// Never waits. See WandbQueue::push.
  void push(std::string line, bool droppable) { queue_.push(std::move(line), droppable); }
  /// Sends what waits and then `last_line`, waits for the helper's confirmation for
  /// `finish_timeout` at most, stops it, and logs what was lost.
  void close(std::string last_line);

 private:
  void feed();
  void handle_events();
  void stop();

  std::unique_ptr<WandbProcess> process_;
  Options options_;
  WandbQueue queue_;
  std::atomic<bool> giving_up_{false};  ///< the time is over
  bool confirmed_ = false;              ///< the helper has recorded everything; of the thread
  int num_problems_ = 0;                ///< of the thread
  std::mutex mutex_;
  std::condition_variable fed_changed_;
  bool fed_ = false;  ///< guarded by mutex_: the thread is done
  std::thread thread_;
};

}  // namespace zoetrope
