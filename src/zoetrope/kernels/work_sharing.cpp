#include "zoetrope/kernels/work_sharing.h"

#include <algorithm>

#include <ATen/Parallel.h>

namespace zoetrope::kernels {

void share_work(int64_t num_items, bool alone, const std::function<void(WorkQueue&)>& worker) {
  WorkQueue queue(num_items);
  const int64_t num_threads = std::min<int64_t>(num_items, at::get_num_threads());
  if (alone || num_threads <= 1 || at::in_parallel_region()) return worker(queue);
  at::parallel_for(0, num_threads, 1, [&](int64_t, int64_t) { worker(queue); });
}

}  // namespace zoetrope::kernels
