#include "support/ranks.h"

#include <exception>
#include <thread>

#include <ATen/Parallel.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "zoetrope/distributed/c10d_groups.h"

namespace zoetrope {

void run_ranks(const MeshSizes& sizes, const std::function<void(const Mesh&)>& body) {
  run_ranks(sizes, [&](const Mesh& mesh, const std::shared_ptr<MessageBoard>&) { body(mesh); });
}

void run_ranks(const MeshSizes& sizes,
               const std::function<void(const Mesh&, const std::shared_ptr<MessageBoard>&)>& body) {
  constexpr auto kTimeout = std::chrono::seconds(60);
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::exception_ptr> errors(static_cast<size_t>(sizes.num_ranks()));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < sizes.num_ranks(); ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      try {
        body(make_mesh(sizes, rank, c10d_groups(store, kTimeout, "127.0.0.1")),
             std::make_shared<MessageBoard>(store, rank, sizes.num_ranks(), kTimeout));
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
