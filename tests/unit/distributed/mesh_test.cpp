#include "zoetrope/distributed/mesh.h"

#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

Mesh mesh_of(const MeshSizes& sizes, int64_t rank) {
  return make_mesh(sizes, rank, [](const std::string& name, const std::vector<int64_t>&, int64_t) {
    return Group::alone(name);
  });
}

/// The members of each kind of group, as the factory was asked for them.
std::map<std::string, std::vector<int64_t>> members(const MeshSizes& sizes, int64_t rank) {
  std::map<std::string, std::vector<int64_t>> groups;
  make_mesh(sizes, rank,
            [&](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
              EXPECT_EQ(ranks[static_cast<size_t>(index)], rank);
              groups[name.substr(0, name.find('.'))] = ranks;
              return Group::alone(name);
            });
  return groups;
}

using Ranks = std::vector<int64_t>;

TEST(Mesh, ReplicasAndShardsAreThoseOfFastVideo) {
  const MeshSizes sizes{.replicate = 2, .shard = 4};
  const auto groups = members(sizes, 6);
  EXPECT_EQ(groups.at("shard"), (Ranks{4, 5, 6, 7}));
  EXPECT_EQ(groups.at("replicate"), (Ranks{2, 6}));
  EXPECT_EQ(groups.at("world"), (Ranks{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_FALSE(groups.contains("sequence"));
  EXPECT_EQ(sizes.num_data_groups(), 8);
}

TEST(Mesh, SequenceGroupsAreConsecutiveRanks) {
  const MeshSizes sizes{.replicate = 2, .shard = 2, .sequence = 2};
  EXPECT_EQ(members(sizes, 3).at("sequence"), (Ranks{2, 3}));
  EXPECT_EQ(sizes.num_data_groups(), 2);
  EXPECT_EQ(mesh_of(sizes, 3).place.data_group, 1);
  EXPECT_EQ(mesh_of(sizes, 3).place.sequence, 1);
}

TEST(Mesh, TensorRanksAreInnermost) {
  const MeshSizes sizes{.replicate = 1, .shard = 2, .sequence = 2, .tensor = 2};
  EXPECT_EQ(members(sizes, 2).at("tensor"), (Ranks{2, 3}));
  EXPECT_EQ(members(sizes, 2).at("shard"), (Ranks{0, 2}));
  EXPECT_EQ(members(sizes, 3).at("sequence"), (Ranks{1, 3}));
}

TEST(Mesh, SequenceGroupsMustDivideTheRanks) {
  EXPECT_THROW(mesh_of({.shard = 4, .sequence = 3}, 0), DistributedError);
}

}  // namespace
}  // namespace zoetrope
