// The layers of the UMT5 encoder. B batch, L tokens, D d_model.
#pragma once

#include <string>

#include "zoetrope/networks/umt5/umt5_encoder.h"
#include "zoetrope/networks/weight_source.h"

namespace zoetrope::umt5 {

/// int64 [L, L] on the CPU: the bucket of every (query, key) distance; exact for near tokens,
/// logarithmic for far ones, one half of the buckets for keys after the query.
at::Tensor relative_position_buckets(int64_t length, const Umt5Config& config);

/// x / rms(x) * weight, without mean and bias; the statistics in fp32.
class RmsNorm {
 public:
  RmsNorm(WeightSource& weights, const std::string& name, const Umt5Config& config);
  at::Tensor forward(const at::Tensor& hidden_BLD) const;

 private:
  at::Tensor weight_;
  double epsilon_;
};

/// Self-attention and gated feed-forward, each behind a norm and with a residual.
class Block {
 public:
  Block(WeightSource& weights, const std::string& name, const Umt5Config& config);
  /// `hidden_from`: bool [B, 1, 1, L], true where a key is padding.
  at::Tensor forward(const at::Tensor& hidden_BLD, const at::Tensor& buckets_LL,
                     const at::Tensor& hidden_from) const;

 private:
  at::Tensor attend(const at::Tensor& normed_BLD, const at::Tensor& buckets_LL,
                    const at::Tensor& hidden_from) const;

  int64_t num_heads_;
  RmsNorm attention_norm_;
  at::Tensor q_;
  at::Tensor k_;
  at::Tensor v_;
  at::Tensor o_;
  at::Tensor position_bias_;  ///< [buckets, heads]
  RmsNorm feed_forward_norm_;
  at::Tensor gate_;
  at::Tensor up_;
  at::Tensor down_;
};

}  // namespace zoetrope::umt5
