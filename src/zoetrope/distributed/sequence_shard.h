// Sequence parallelism: every rank of a group holds a run of a sequence's tokens, and for attention
// all tokens of its share of the heads. Zero tokens at the end make the runs equally long. Plain
// tensors without gradient; sequence_gradients.h has the differentiable forms. Source: DeepSpeed
// Ulysses (Jacobs et al., 2309.14509). Legend: B batch, N tokens, n tokens of a rank, P ranks, D
// width of all heads, w = D / P.
#pragma once

#include <memory>
#include <vector>

#include "zoetrope/distributed/group.h"

namespace zoetrope {

/// One rank's part of a sequence.
class SequenceShard {
 public:
  /// All of it; for contexts without a group.
  SequenceShard() = default;
  /// `group` may be null, which stands for a group of one.
  SequenceShard(std::shared_ptr<Group> group, int64_t num_tokens);

  bool is_whole() const { return num_ranks() == 1; }
  int64_t num_ranks() const { return group_ ? group_->size() : 1; }
  /// N, without the zero tokens.
  int64_t num_tokens() const { return num_tokens_; }
  /// n, with them.
  int64_t num_own() const { return num_own_; }

  /// The own part of x [..., N, E], zero behind the last token; ATen operations that autograd
  /// differentiates.
  at::Tensor own_tokens(const at::Tensor& x) const;
  /// rows_BMx holds a row for every N / M tokens in order. The rows of the own tokens [B, m, ...],
  /// one for every n / m of them; a single row stays one. Differentiable by autograd.
  at::Tensor own_rows(const at::Tensor& rows_BMx) const;

  /// The ranks' tokens x_BnE as [B, N, E].
  at::Tensor all_tokens(const at::Tensor& x_BnE) const;
  /// The own part [B, n, E] of the sum over ranks of x_BNE, summed in fp32.
  at::Tensor sum_own_tokens(const at::Tensor& x_BNE) const;

  /// Own tokens of all heads [B, n, D] -> all tokens of the own heads [B, N, w], for several
  /// tensors in one all-to-all. The results share memory; their tokens have a stride of their own.
  std::vector<at::Tensor> scatter_heads(at::TensorList x_BnD) const;
  /// The reverse, and its gradient: x_BNw to `own_BnD`, whose tokens behind the last become zero.
  void gather_heads(at::TensorList x_BNw, at::TensorList own_BnD) const;

 private:
  std::shared_ptr<Group> group_;
  int64_t num_tokens_ = 0;
  int64_t num_own_ = 0;
  int64_t begin_ = 0;  ///< of the own tokens
};

}  // namespace zoetrope
