#include "zoetrope/distributed/sequence_shard.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

constexpr int64_t kTokens = -2;  ///< the dimension of tokens in [..., tokens, E]

at::Tensor pad_tokens(const at::Tensor& x, int64_t num_tokens) {
  const int64_t missing = num_tokens - x.size(kTokens);
  return missing == 0 ? x : at::constant_pad_nd(x, {0, 0, 0, missing});
}

}  // namespace

SequenceShard::SequenceShard(std::shared_ptr<Group> group, int64_t num_tokens)
    : group_(std::move(group)), num_tokens_(num_tokens) {
  num_own_ = (num_tokens_ + num_ranks() - 1) / num_ranks();
  begin_ = group_ ? group_->index() * num_own_ : 0;
}

at::Tensor SequenceShard::own_tokens(const at::Tensor& x) const {
  if (is_whole()) return x;
  TORCH_CHECK(x.size(kTokens) == num_tokens_, "sequence shard: there must be ", num_tokens_,
              " tokens, but the tensor is ", x.sizes());
  const int64_t begin = std::min(begin_, num_tokens_);
  const int64_t end = std::min(begin_ + num_own_, num_tokens_);
  return pad_tokens(x.narrow(kTokens, begin, end - begin), num_own_);
}

at::Tensor SequenceShard::own_rows(const at::Tensor& rows_BMx) const {
  const int64_t num_rows = rows_BMx.size(1);
  if (is_whole() || num_rows == 1) return rows_BMx;
  const int64_t tokens_per_row = num_tokens_ / num_rows;
  // The longest runs of own tokens that never cross from one row to the next.
  const int64_t run = std::gcd(tokens_per_row, num_own_);
  std::vector<int64_t> rows;
  for (int64_t token = begin_; token < begin_ + num_own_; token += run)
    rows.push_back(std::min(token / tokens_per_row, num_rows - 1));
  return rows_BMx.index_select(1, at::tensor(rows).to(rows_BMx.device()));
}

at::Tensor SequenceShard::all_tokens(const at::Tensor& x_BnE) const {
  if (is_whole()) return x_BnE;
  const at::Tensor own = x_BnE.contiguous();
  const at::Tensor gathered_PBnE =
      at::empty({num_ranks(), own.size(0), num_own_, own.size(2)}, own.options());
  group_->all_gather(own.flatten(), gathered_PBnE.flatten()).wait();
  return gathered_PBnE.transpose(0, 1).flatten(1, 2).narrow(1, 0, num_tokens_);
}

at::Tensor SequenceShard::sum_own_tokens(const at::Tensor& x_BNE) const {
  if (is_whole()) return x_BNE;
  const at::Tensor parts_PBnE = pad_tokens(x_BNE, num_ranks() * num_own_)
                                    .unflatten(1, {num_ranks(), num_own_})
                                    .transpose(0, 1)
                                    .contiguous();
  const at::Tensor own_BnE =
      at::empty({x_BNE.size(0), num_own_, x_BNE.size(2)}, x_BNE.options().dtype(at::kFloat));
  group_->reduce_scatter_sum(parts_PBnE.flatten(), own_BnE.flatten()).wait();
  return own_BnE.to(x_BNE.scalar_type());
}

std::vector<at::Tensor> SequenceShard::scatter_heads(at::TensorList x_BnD) const {
  if (is_whole()) return x_BnD.vec();
  const int64_t ranks = num_ranks();
  const auto count = static_cast<int64_t>(x_BnD.size());
  const int64_t batch = x_BnD[0].size(0);
  const int64_t width = x_BnD[0].size(2) / ranks;
  // Ranks, then their tokens, outermost: what has come is in the order of tokens as it lies there.
  const at::Tensor sent = at::empty({ranks, num_own_, count, batch, width}, x_BnD[0].options());
  for (int64_t i = 0; i < count; ++i) {
    sent.select(2, i).copy_(
        x_BnD[static_cast<size_t>(i)].unflatten(2, {ranks, width}).permute({2, 1, 0, 3}));
  }
  const at::Tensor received = at::empty_like(sent);
  group_->all_to_all(sent.flatten(), received.flatten()).wait();
  return received.flatten(0, 1).narrow(0, 0, num_tokens_).permute({1, 2, 0, 3}).unbind(0);
}

void SequenceShard::gather_heads(at::TensorList x_BNw, at::TensorList own_BnD) const {
  TORCH_CHECK(!is_whole(), "sequence shard: one rank has all heads already");
  const auto count = static_cast<int64_t>(x_BNw.size());
  const int64_t ranks = num_ranks();
  const int64_t batch = x_BNw[0].size(0);
  const int64_t width = x_BNw[0].size(2);
  const at::Tensor sent = at::empty({ranks * num_own_, count, batch, width}, own_BnD[0].options());
  for (int64_t i = 0; i < count; ++i) {
    sent.select(1, i)
        .narrow(0, 0, num_tokens_)
        .copy_(x_BNw[static_cast<size_t>(i)].transpose(0, 1));
  }
  sent.narrow(0, num_tokens_, sent.size(0) - num_tokens_).zero_();
  const at::Tensor received = at::empty_like(sent);
  group_->all_to_all(sent.flatten(), received.flatten()).wait();
  const at::Tensor by_rank = received.unflatten(0, {ranks, num_own_});
  for (int64_t i = 0; i < count; ++i) {
    own_BnD[static_cast<size_t>(i)]
        .unflatten(2, {ranks, width})
        .copy_(by_rank.select(2, i).permute({2, 1, 0, 3}));
  }
}

}  // namespace zoetrope
