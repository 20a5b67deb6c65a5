// A range of a tensor's elements in row-major order as boxes, which is how checkpoints store parts.
#pragma once

#include <vector>

#include "zoetrope/checkpoint/dcp/dcp_item.h"
#include "zoetrope/tensor/tensor_shard.h"

namespace zoetrope {

/// The fewest boxes whose elements, one box after the other, are elements begin .. begin + count of
/// a tensor of `shape`.
std::vector<DcpBox> boxes_of_range(const std::vector<int64_t>& shape, int64_t begin, int64_t count);

/// The boxes of the whole tensor that `shard` holds, in the order of its values.
std::vector<DcpBox> boxes_of_shard(const TensorShard& shard);

/// The items that store `shard` under `path`: one for each box, or one for a whole tensor.
std::vector<DcpItem> items_of_shard(const DcpPath& path, const TensorShard& shard);

}  // namespace zoetrope
