// How the ranks of a run are arranged: data-parallel replicas, shards of the parameters, sequence
// and tensor parallel groups. Source: FastVideo train (the (replicate, shard) mesh over all ranks,
// sequence groups of consecutive ranks); tensor parallel ranks are ours and innermost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "zoetrope/distributed/group.h"

namespace zoetrope {

struct MeshSizes {
  int64_t replicate = 1;  ///< copies of the parameters (hsdp_replicate_dim)
  int64_t shard = 1;      ///< parts that each copy is split into (hsdp_shard_dim)
  int64_t sequence = 1;   ///< ranks that share one sample (sp_size); divides replicate * shard
  int64_t tensor = 1;     ///< ranks that split each layer (tp_size)

  int64_t num_ranks() const { return replicate * shard * tensor; }
  /// Groups of ranks that read different samples.
  int64_t num_data_groups() const { return replicate * shard / sequence; }
};

/// Where a rank stands: rank = (replicate * shards + shard) * tensor ranks + tensor rank, and
/// consecutive (replicate, shard) places form the sequence groups.
struct MeshPlace {
  int64_t replicate = 0;
  int64_t shard = 0;
  int64_t sequence = 0;
  int64_t tensor = 0;
  int64_t data_group = 0;
};

MeshPlace mesh_place(const MeshSizes& sizes, int64_t rank);

/// The groups that one rank belongs to. Groups of one rank are there, too.
struct Mesh {
  MeshSizes sizes;
  MeshPlace place;
  int64_t rank = 0;
  int64_t local_rank = 0;  ///< among the ranks of this machine
  std::shared_ptr<Group> world = Group::alone("world");
  std::shared_ptr<Group> replicate = Group::alone("replicate");
  std::shared_ptr<Group> shard = Group::alone("shard");
  /// replicate x shard: all ranks whose gradients of one parameter are summed.
  std::shared_ptr<Group> data = Group::alone("data");
  std::shared_ptr<Group> sequence = Group::alone("sequence");
  std::shared_ptr<Group> tensor = Group::alone("tensor");
};

/// Makes the group with this name of the given ranks, of which this rank is the one at `index`.
using GroupFactory = std::function<std::shared_ptr<Group>(
    const std::string& name, const std::vector<int64_t>& ranks, int64_t index)>;

/// The mesh as `rank` sees it. Groups of one rank need no factory. Throws DistributedError when
/// sequence groups do not divide the ranks.
Mesh make_mesh(const MeshSizes& sizes, int64_t rank, const GroupFactory& make_group);

}  // namespace zoetrope
