// A rank's part of a tensor that is spread over ranks: a range of its elements in row-major order.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

struct TensorShard {
  std::string name;
  std::vector<int64_t> shape;  ///< of the whole tensor
  int64_t begin = 0;           ///< first element that is here
  at::Tensor values;           ///< flat [n]: elements begin .. begin + n, a view of the live state
};

/// In the order of the network. A tensor of which nothing is here is left out.
using TensorShards = std::vector<TensorShard>;

/// Copies `source` into `target`, which must have the same names and ranges in the same order.
/// Throws Error when it has not.
void copy_shards(const TensorShards& source, const TensorShards& target);

}  // namespace zoetrope
