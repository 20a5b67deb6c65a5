#include "zoetrope/networks/wan_vae/layers.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace zoetrope::wan_vae {
namespace {

at::Tensor channels_last(const at::Tensor& tensor) {
  return tensor.contiguous(at::MemoryFormat::ChannelsLast);
}

// The temporal taps of a weight [out, in, kernel_t, h, w], oldest first.
std::vector<at::Tensor> temporal_taps(const at::Tensor& weight) {
  std::vector<at::Tensor> taps;
  for (int64_t k = 0; k < weight.size(2); ++k) taps.push_back(channels_last(weight.select(2, k)));
  return taps;
}

}  // namespace

ChunkHistory::Slot& ChunkHistory::next_slot() {
  if (next_ == slots_.size()) slots_.emplace_back();
  return slots_[next_++];
}

CausalConv::CausalConv(WeightSource& weights, const std::string& name, int64_t in_channels,
                       int64_t out_channels, int64_t kernel_t, int64_t kernel_s)
    : taps_(temporal_taps(weights.get(name + ".weight",
                                      {out_channels, in_channels, kernel_t, kernel_s, kernel_s}))),
      bias_(weights.get(name + ".bias", {out_channels})),
      padding_(kernel_s / 2) {}

at::Tensor CausalConv::forward(const at::Tensor& rows) const {
  return at::conv2d(rows, taps_.back(), bias_, 1, padding_);
}

at::Tensor CausalConv::forward(const at::Tensor& rows, ChunkHistory& history) const {
  return forward(rows, history.batch(), history.next_slot());
}

at::Tensor CausalConv::forward(const at::Tensor& rows, int64_t batch,
                               ChunkHistory::Slot& slot) const {
  const int64_t num_rows = rows.size(0);
  const int64_t earlier_rows = slot.rows.defined() ? slot.rows.size(0) : 0;
  const at::Tensor all_rows = earlier_rows > 0 ? at::cat({slot.rows, rows}) : rows;

  at::Tensor result = forward(rows);
  // Frames before the clip are zeros and add nothing, so a tap skips the output rows that would
  // look at them.
  const auto num_taps = static_cast<int64_t>(taps_.size());
  for (int64_t frames_back = 1; frames_back < num_taps; ++frames_back) {
    const int64_t offset = earlier_rows - frames_back * batch;
    const int64_t first_output = std::max<int64_t>(0, -offset);
    const int64_t count = num_rows - first_output;
    if (count <= 0) break;
    const at::Tensor seen = all_rows.narrow(0, first_output + offset, count);
    result.narrow(0, first_output, count)
        .add_(at::conv2d(seen, taps_[num_taps - 1 - frames_back], {}, 1, padding_));
  }

  const int64_t kept_rows = std::min((num_taps - 1) * batch, all_rows.size(0));
  const at::Tensor kept = all_rows.narrow(0, all_rows.size(0) - kept_rows, kept_rows);
  // A view would keep the whole chunk alive.
  slot.rows = kept_rows < all_rows.size(0) ? kept.clone() : kept;
  slot.started = true;
  return result;
}

RmsNorm::RmsNorm(WeightSource& weights, const std::string& name, int64_t channels, bool images)
    : gain_1C11_(weights
                     .get(name + ".gamma", images ? std::vector<int64_t>{channels, 1, 1}
                                                  : std::vector<int64_t>{channels, 1, 1, 1})
                     .reshape({1, channels, 1, 1}) *
                 std::sqrt(static_cast<double>(channels))) {}

at::Tensor RmsNorm::forward(const at::Tensor& rows) const {
  constexpr double kSmallestNorm = 1e-12;
  const at::Tensor length =
      at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}, /*keepdim=*/true, at::kFloat);
  return (rows / length.clamp_min_(kSmallestNorm)).to(rows.scalar_type()).mul_(gain_1C11_);
}

at::Tensor RmsNorm::forward_silu(const at::Tensor& rows) const {
  at::Tensor normalized = forward(rows);
  return at::silu_(normalized);
}

ResidualBlock::ResidualBlock(WeightSource& weights, const std::string& name, int64_t in_channels,
                             int64_t out_channels)
    : norm1_(weights, name + ".norm1", in_channels, /*images=*/false),
      conv1_(weights, name + ".conv1", in_channels, out_channels, 3, 3),
      norm2_(weights, name + ".norm2", out_channels, /*images=*/false),
      conv2_(weights, name + ".conv2", out_channels, out_channels, 3, 3) {
  if (in_channels != out_channels)
    shortcut_.emplace(weights, name + ".conv_shortcut", in_channels, out_channels, 1, 1);
}

at::Tensor ResidualBlock::forward(const at::Tensor& rows, ChunkHistory& history) const {
  const at::Tensor hidden = conv1_.forward(norm1_.forward_silu(rows), history);
  at::Tensor result = conv2_.forward(norm2_.forward_silu(hidden), history);
  return result.add_(shortcut_ ? shortcut_->forward(rows) : rows);
}

AttentionBlock::AttentionBlock(WeightSource& weights, const std::string& name, int64_t channels)
    : norm_(weights, name + ".norm", channels, /*images=*/true),
      qkv_weight_(weights.get(name + ".to_qkv.weight", {3 * channels, channels, 1, 1}).flatten(1)),
      qkv_bias_(weights.get(name + ".to_qkv.bias", {3 * channels})),
      out_weight_(weights.get(name + ".proj.weight", {channels, channels, 1, 1}).flatten(1)),
      out_bias_(weights.get(name + ".proj.bias", {channels})) {}

at::Tensor AttentionBlock::forward(const at::Tensor& rows, ChunkHistory&) const {
  const at::Tensor pixels_NHWC = norm_.forward(rows).permute({0, 2, 3, 1});
  const at::Tensor qkv = at::linear(pixels_NHWC.flatten(1, 2).unsqueeze(1), qkv_weight_, qkv_bias_);
  const std::vector<at::Tensor> parts = qkv.chunk(3, -1);
  const at::Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
  const at::Tensor projected = at::linear(mixed, out_weight_, out_bias_);
  return projected.reshape(pixels_NHWC.sizes()).permute({0, 3, 1, 2}).add(rows);
}

Downsample::Downsample(WeightSource& weights, const std::string& name, int64_t channels,
                       bool temporal)
    : weight_(channels_last(weights.get(name + ".resample.1.weight", {channels, channels, 3, 3}))),
      bias_(weights.get(name + ".resample.1.bias", {channels})) {
  if (!temporal) return;
  time_taps_ =
      temporal_taps(weights.get(name + ".time_conv.weight", {channels, channels, 3, 1, 1}));
  time_bias_ = weights.get(name + ".time_conv.bias", {channels});
}

at::Tensor Downsample::forward(const at::Tensor& rows, ChunkHistory& history) const {
  const at::Tensor padded = at::constant_pad_nd(rows, {0, 1, 0, 1});
  const at::Tensor halved = at::conv2d(padded, weight_, bias_, 2);
  return time_taps_.empty() ? halved : halve_frame_rate(halved, history);
}

at::Tensor Downsample::halve_frame_rate(const at::Tensor& rows, ChunkHistory& history) const {
  const int64_t batch = history.batch();
  ChunkHistory::Slot& slot = history.next_slot();
  const at::Tensor last_frame = rows.narrow(0, rows.size(0) - batch, batch).clone();
  if (!slot.started) {
    slot = {.rows = last_frame, .started = true};
    return rows;
  }
  const at::Tensor all_rows = at::cat({slot.rows, rows});
  slot.rows = last_frame;
  const int64_t num_frames = all_rows.size(0) / batch;
  const at::Tensor frames = all_rows.unflatten(0, {num_frames, batch});
  at::Tensor result;
  for (int64_t k = 0; k < 3; ++k) {
    const at::Tensor seen = channels_last(frames.slice(0, k, num_frames - 2 + k, 2).flatten(0, 1));
    const at::Tensor part = at::conv2d(seen, time_taps_[k], k == 0 ? time_bias_ : at::Tensor());
    result = k == 0 ? part : result.add_(part);
  }
  return result;
}

Upsample::Upsample(WeightSource& weights, const std::string& name, int64_t channels, bool temporal)
    : weight_(
          channels_last(weights.get(name + ".resample.1.weight", {channels / 2, channels, 3, 3}))),
      bias_(weights.get(name + ".resample.1.bias", {channels / 2})) {
  if (temporal) time_conv_.emplace(weights, name + ".time_conv", channels, 2 * channels, 3, 1);
}

at::Tensor Upsample::forward(const at::Tensor& rows, ChunkHistory& history) const {
  at::Tensor frames = rows;
  if (time_conv_) {
    ChunkHistory::Slot& slot = history.next_slot();
    if (slot.started) {
      const int64_t batch = history.batch();
      const at::Tensor pairs = time_conv_->forward(rows, batch, slot).unflatten(0, {-1, batch});
      frames = channels_last(at::stack(pairs.chunk(2, 2), 1).flatten(0, 2));
    }
    // The first frame stays single and is not seen by later ones.
    slot.started = true;
  }
  const at::Tensor doubled =
      at::upsample_nearest2d(frames, {2 * frames.size(2), 2 * frames.size(3)});
  return at::conv2d(doubled, weight_, bias_, 1, 1);
}

}  // namespace zoetrope::wan_vae
