#include "zoetrope/tracking/wandb_queue.h"

#include <algorithm>

namespace zoetrope {

void WandbQueue::push(std::string line, bool droppable) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  records_.push_back({std::move(line), droppable});
  if (records_.size() <= capacity_) return;
  ++num_dropped_;
  const auto oldest = std::find_if(records_.begin(), records_.end(),
                                   [](const Record& record) { return record.droppable; });
  if (oldest != records_.end()) {
    records_.erase(oldest);
  } else {
    records_.pop_back();
  }
}

void WandbQueue::push_last(std::string line) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  records_.push_back({std::move(line), false});
  closed_ = true;
}

std::string WandbQueue::take() {
  const std::lock_guard lock(mutex_);
  if (records_.empty()) return "";
  std::string line = std::move(records_.front().line);
  records_.pop_front();
  return line;
}

void WandbQueue::clear() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  records_.clear();
}

int64_t WandbQueue::num_dropped() const {
  const std::lock_guard lock(mutex_);
  return num_dropped_;
}

}  // namespace zoetrope
