#include "zoetrope/tensor/tensor_shard.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

void copy_shards(const TensorShards& source, const TensorShards& target) {
  if (source.size() != target.size())
    fail("shards: must be {} tensors, but are {}", target.size(), source.size());
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < source.size(); ++i) {
    const TensorShard& from = source[i];
    const TensorShard& to = target[i];
    if (from.name != to.name || from.begin != to.begin || from.values.sizes() != to.values.sizes())
      fail("shards: must hold '{}' from element {}, but hold '{}' from {}", to.name, to.begin,
           from.name, from.begin);
    to.values.copy_(from.values);
  }
}

}  // namespace zoetrope
