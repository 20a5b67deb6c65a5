// The exchanges of SequenceShard as operations that autograd differentiates. Every rank of the
// group computes the same loss from the same inputs; a parameter's gradient on one rank is then the
// part that its own tokens make, and the sum over the group's ranks is the whole. Legend as in
// sequence_shard.h.
#pragma once

#include "zoetrope/distributed/sequence_shard.h"

namespace zoetrope {

/// How the gradient of gathered tokens differs between ranks.
enum class GatheredGradient {
  kSame,  ///< every rank goes on with all tokens: each takes its own of the whole gradient
  kPart,  ///< every rank goes on with its own tokens of a result: the gradients are summed
};

/// Own tokens [B, n, E] of x_BNE, which is the same on every rank; its gradient is whole on each.
at::Tensor split_tokens(const SequenceShard& shard, const at::Tensor& x_BNE);
/// SequenceShard::all_tokens.
at::Tensor gather_tokens(const SequenceShard& shard, const at::Tensor& x_BnE,
                         GatheredGradient gradient);
/// SequenceShard::scatter_heads.
std::vector<at::Tensor> scatter_heads(const SequenceShard& shard, at::TensorList x_BnD);
/// SequenceShard::gather_heads of one tensor: [B, N, w] -> [B, n, D].
at::Tensor gather_heads(const SequenceShard& shard, const at::Tensor& x_BNw);

}  // namespace zoetrope
