#include "zoetrope/distributed/sequence_gradients.h"

#include <ATen/ATen.h>

#include "zoetrope/distributed/linear_map.h"

namespace zoetrope {
namespace {

std::vector<at::Tensor> gathered_heads(const SequenceShard& shard, at::TensorList x_BNw) {
  std::vector<at::Tensor> own;
  for (const at::Tensor& x : x_BNw) {
    own.push_back(
        at::empty({x.size(0), shard.num_own(), shard.num_ranks() * x.size(2)}, x.options()));
  }
  shard.gather_heads(x_BNw, own);
  return own;
}

}  // namespace

at::Tensor split_tokens(const SequenceShard& shard, const at::Tensor& x_BNE) {
  if (shard.is_whole()) return x_BNE;
  return apply_linear_map(
      x_BNE, [shard](at::TensorList x) { return std::vector<at::Tensor>{shard.own_tokens(x[0])}; },
      [shard](at::TensorList d) { return std::vector<at::Tensor>{shard.all_tokens(d[0])}; })[0];
}

at::Tensor gather_tokens(const SequenceShard& shard, const at::Tensor& x_BnE,
                         GatheredGradient gradient) {
  if (shard.is_whole()) return x_BnE;
  const bool same = gradient == GatheredGradient::kSame;
  return apply_linear_map(
      x_BnE, [shard](at::TensorList x) { return std::vector<at::Tensor>{shard.all_tokens(x[0])}; },
      [shard, same](at::TensorList d) {
        return std::vector<at::Tensor>{same ? shard.own_tokens(d[0]) : shard.sum_own_tokens(d[0])};
      })[0];
}

std::vector<at::Tensor> scatter_heads(const SequenceShard& shard, at::TensorList x_BnD) {
  if (shard.is_whole()) return x_BnD.vec();
  return apply_linear_map(
      x_BnD, [shard](at::TensorList x) { return shard.scatter_heads(x); },
      [shard](at::TensorList d) { return gathered_heads(shard, d); });
}

at::Tensor gather_heads(const SequenceShard& shard, const at::Tensor& x_BNw) {
  if (shard.is_whole()) return x_BNw;
  return apply_linear_map(
      x_BNw, [shard](at::TensorList x) { return gathered_heads(shard, x); },
      [shard](at::TensorList d) { return shard.scatter_heads(d); })[0];
}

}  // namespace zoetrope
