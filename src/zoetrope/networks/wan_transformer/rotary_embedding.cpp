#include "zoetrope/networks/wan_transformer/rotary_embedding.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr double kTheta = 10000.0;

/// Angles [count, channels / 2] of positions first, first + 1, ...
at::Tensor axis_angles(int64_t first, int64_t count, int64_t channels) {
  const at::Tensor exponents =
      at::arange(0, channels, 2, at::kDouble) / static_cast<double>(channels);
  const at::Tensor positions = at::arange(first, first + count, at::kDouble);
  return at::outer(positions,
                   at::pow(at::scalar_tensor(kTheta, at::kDouble), exponents).reciprocal());
}

}  // namespace

RotaryTables make_rotary_tables(const WanTransformerConfig& config, const TokenGrid& grid,
                                at::Device device) {
  const int64_t limit = config.rope_max_seq_len;
  if (grid.start_frame + grid.frames > limit || grid.rows > limit || grid.columns > limit) {
    fail(
        "rotary embedding: positions must be below rope_max_seq_len = {}, but the clip has {} "
        "frames from {}, {} rows "
        "and {} columns of tokens",
        limit, grid.frames, grid.start_frame, grid.rows, grid.columns);
  }
  const int64_t space_channels = 2 * (config.attention_head_dim / 6);
  const int64_t time_channels = config.attention_head_dim - 2 * space_channels;
  const auto spread = [&](const at::Tensor& angles, at::IntArrayRef view) {
    return angles.view(view).expand({grid.frames, grid.rows, grid.columns, angles.size(-1)});
  };
  const at::Tensor angles =
      at::cat({spread(axis_angles(grid.start_frame, grid.frames, time_channels),
                      {grid.frames, 1, 1, -1}),
               spread(axis_angles(0, grid.rows, space_channels), {1, grid.rows, 1, -1}),
               spread(axis_angles(0, grid.columns, space_channels), {1, 1, grid.columns, -1})},
              -1)
          .view({grid.num_tokens(), config.attention_head_dim / 2});
  return {angles.cos().to(device, at::kFloat), angles.sin().to(device, at::kFloat)};
}

at::Tensor apply_rotary(const at::Tensor& x_BNHd, const RotaryTables& tables) {
  const at::Tensor pairs = x_BNHd.to(at::kFloat).unflatten(-1, {-1, 2});
  const at::Tensor first = pairs.select(-1, 0);
  const at::Tensor second = pairs.select(-1, 1);
  const at::Tensor cos = tables.cos.unsqueeze(1);
  const at::Tensor sin = tables.sin.unsqueeze(1);
  return at::stack({first * cos - second * sin, first * sin + second * cos}, -1)
      .flatten(-2)
      .to(x_BNHd.scalar_type());
}

}  // namespace zoetrope
