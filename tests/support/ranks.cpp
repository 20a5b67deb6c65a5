#include "support/ranks.h"

#include <future>

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
  std::vector<std::future<void>> ranks;
  for (int64_t rank = 0; rank < sizes.num_ranks(); ++rank) {
    ranks.push_back(std::async(std::launch::async, [&, rank] {
      at::set_num_threads(1);
      body(make_mesh(sizes, rank, c10d_groups(store, kTimeout, "127.0.0.1")),
           std::make_shared<MessageBoard>(store, rank, sizes.num_ranks(), kTimeout));
    }));
  }
  for (const std::future<void>& rank : ranks) rank.wait();
  for (std::future<void>& rank : ranks) rank.get();
}

}  // namespace zoetrope
