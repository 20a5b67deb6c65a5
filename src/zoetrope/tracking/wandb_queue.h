// A bounded queue of records between the training thread, which never waits, and the thread that
// hands them to the wandb helper. Knows nothing of what a record says.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

namespace zoetrope {

class WandbQueue {
 public:
  explicit WandbQueue(size_t capacity) : capacity_(capacity) {}

  /// Adds one record (a line with its newline). When the queue is full, the oldest `droppable`
  /// record goes, or this one where there is none.
  void push(std::string line, bool droppable);
  /// Adds the last record, which is never dropped; later ones are ignored.
  void push_last(std::string line);
  /// The oldest record; empty when none waits.
  std::string take();
  /// Forgets what waits; later records are ignored.
  void clear();

  int64_t num_dropped() const;

 private:
  struct Record {
    std::string line;
    bool droppable;
  };

  mutable std::mutex mutex_;
  std::deque<Record> records_;
  size_t capacity_;
  int64_t num_dropped_ = 0;
  bool closed_ = false;
};

}  // namespace zoetrope
