// A rank's part of a tensor that is spread over ranks: a range of its elements in row-major order,
// and before that, under tensor parallelism, a range of one of its dimensions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// Where a tensor lies in the whole one of which tensor-parallel ranks have equal parts.
struct TensorPart {
  std::vector<int64_t> whole_shape;
  int64_t dimension = 0;
  int64_t offset = 0;  ///< in that dimension
};

struct TensorShard {
  std::string name;
  std::vector<int64_t> shape;  ///< of the tensor that is spread
  int64_t begin = 0;           ///< first element that is here
  at::Tensor values;           ///< flat [n]: elements begin .. begin + n, a view of the live state
  std::optional<TensorPart> part = std::nullopt;  ///< none: the tensor is whole on every rank

  const std::vector<int64_t>& whole_shape() const { return part ? part->whole_shape : shape; }
};

/// In the order of the network. A tensor of which nothing is here is left out.
using TensorShards = std::vector<TensorShard>;

/// Copies `source` into `target`, which must have the same names and ranges in the same order.
/// Throws Error when it has not.
void copy_shards(const TensorShards& source, const TensorShards& target);

}  // namespace zoetrope
