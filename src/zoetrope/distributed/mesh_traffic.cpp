#include "zoetrope/distributed/mesh_traffic.h"

namespace zoetrope {

std::map<std::string, int64_t> sent_bytes(const Mesh& mesh) {
  return {{"shard", mesh.shard->traffic().num_bytes},
          {"replicate", mesh.replicate->traffic().num_bytes},
          {"data", mesh.data->traffic().num_bytes},
          {"sequence", mesh.sequence->traffic().num_bytes},
          {"tensor", mesh.tensor->traffic().num_bytes}};
}

}  // namespace zoetrope
