#include "zoetrope/distributed/mesh.h"

#include <algorithm>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

/// The ranks whose place agrees with `place` in everything but what `same` leaves out.
template <class Same>
std::shared_ptr<Group> group_of(const std::string& name, const MeshSizes& sizes, int64_t rank,
                                const GroupFactory& make_group, Same same) {
  const MeshPlace own = mesh_place(sizes, rank);
  std::vector<int64_t> ranks;
  for (int64_t other = 0; other < sizes.num_ranks(); ++other) {
    if (same(own, mesh_place(sizes, other))) ranks.push_back(other);
  }
  if (ranks.size() == 1) return Group::alone(name);
  const auto index = std::find(ranks.begin(), ranks.end(), rank) - ranks.begin();
  // Groups of one kind are told apart by their first rank.
  return make_group(fmt::format("{}.{}", name, ranks.front()), ranks, index);
}

}  // namespace

MeshPlace mesh_place(const MeshSizes& sizes, int64_t rank) {
  const int64_t data_rank = rank / sizes.tensor;
  return {data_rank / sizes.shard, data_rank % sizes.shard, data_rank % sizes.sequence,
          rank % sizes.tensor, data_rank / sizes.sequence};
}

Mesh make_mesh(const MeshSizes& sizes, int64_t rank, const GroupFactory& make_group) {
  if (sizes.replicate * sizes.shard % sizes.sequence != 0) {
    fail<DistributedError>(
        "mesh: sp_size must divide hsdp_replicate_dim * hsdp_shard_dim, but got {} and {} * {}",
        sizes.sequence, sizes.replicate, sizes.shard);
  }
  const auto make = [&](const char* name, auto same) {
    return group_of(name, sizes, rank, make_group, same);
  };
  Mesh mesh;
  mesh.sizes = sizes;
  mesh.place = mesh_place(sizes, rank);
  mesh.rank = rank;
  mesh.world = make("world", [](const MeshPlace&, const MeshPlace&) { return true; });
  mesh.replicate = make("replicate", [](const MeshPlace& a, const MeshPlace& b) {
    return a.shard == b.shard && a.tensor == b.tensor;
  });
  mesh.shard = make("shard", [](const MeshPlace& a, const MeshPlace& b) {
    return a.replicate == b.replicate && a.tensor == b.tensor;
  });
  mesh.data =
      make("data", [](const MeshPlace& a, const MeshPlace& b) { return a.tensor == b.tensor; });
  mesh.sequence = make("sequence", [](const MeshPlace& a, const MeshPlace& b) {
    return a.data_group == b.data_group && a.tensor == b.tensor;
  });
  mesh.tensor = make("tensor", [](const MeshPlace& a, const MeshPlace& b) {
    return a.replicate == b.replicate && a.shard == b.shard;
  });
  return mesh;
}

}  // namespace zoetrope
