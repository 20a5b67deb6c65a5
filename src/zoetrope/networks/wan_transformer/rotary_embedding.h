// Three-axis rotary position embedding of Wan: the head's channels are split over time, row and
// column, and adjacent channel pairs are rotated by position times frequency. Knows no parameters.
// Source: RoFormer (Su et al., 2021); axis split as in Wan 2.1 (time d - 4*(d/6), row and column
// 2*(d/6) channels).
#pragma once

#include <ATen/core/Tensor.h>

#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"

namespace zoetrope {

/// Cosine and sine of every token's angles: fp32 [N, head_dim / 2], computed in double.
struct RotaryTables {
  at::Tensor cos;
  at::Tensor sin;
};

/// Tokens of a latent clip: frames, rows and columns after patching.
struct TokenGrid {
  int64_t frames = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t start_frame = 0;  ///< temporal position of the first frame (streaming)

  int64_t num_tokens() const { return frames * rows * columns; }
  bool operator==(const TokenGrid&) const = default;
};

/// The tables of `grid` on `device`, tokens in (frame, row, column) order. Throws Error when a
/// position is at or above rope_max_seq_len.
RotaryTables make_rotary_tables(const WanTransformerConfig& config, const TokenGrid& grid,
                                at::Device device);

/// Rotates x [B, N, heads, head_dim] (any floating type; computed in fp32, returned in x's type).
/// Differentiable.
at::Tensor apply_rotary(const at::Tensor& x_BNHd, const RotaryTables& tables);

}  // namespace zoetrope
