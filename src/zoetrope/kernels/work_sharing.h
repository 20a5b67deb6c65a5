// Work items that threads take one by one, so that a core that another process slows down gets
// fewer of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace zoetrope::kernels {

class WorkQueue {
 public:
  explicit WorkQueue(int64_t num_items) : num_items_(num_items) {}
  /// The next item's index, or -1 when none is left.
  int64_t next() {
    const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
    return item < num_items_ ? item : -1;
  }

 private:
  std::atomic<int64_t> next_{0};
  int64_t num_items_;
};

/// Calls `worker` on each of LibTorch's threads with one queue of `num_items`; on the calling
/// thread only when `alone`, when there is one item, or inside another parallel region.
void share_work(int64_t num_items, bool alone, const std::function<void(WorkQueue&)>& worker);

}  // namespace zoetrope::kernels
