// What a rank has sent to others, by the groups of its mesh.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "zoetrope/distributed/mesh.h"

namespace zoetrope {

/// Bytes that have left this rank (Traffic), by group: `shard`, `replicate`, `data`, `sequence`,
/// `tensor`; 0 for groups of one.
std::map<std::string, int64_t> sent_bytes(const Mesh& mesh);

}  // namespace zoetrope
