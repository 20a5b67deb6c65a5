#include "support/ranks.h"

#include <exception>
#include <thread>

#include <ATen/Parallel.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "zoetrope/distributed/gloo_groups.h"

namespace zoetrope {

void run_ranks(const MeshSizes& sizes, const std::function<void(const Mesh&)>& body) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::exception_ptr> errors(static_cast<size_t>(sizes.num_ranks()));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < sizes.num_ranks(); ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      try {
        body(make_mesh(sizes, rank, gloo_groups(store, std::chrono::seconds(60), "127.0.0.1")));
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace zoetrope
