// The layers of the Wan VAE, on frames as rows: a clip chunk of T frames and batch B is a tensor
// [T*B, C, H, W], frame by frame, channels last in memory. All layers but two work on single
// frames; causal convolutions and the temporal resamplers also see earlier frames, which they keep
// in a ChunkHistory, so that a clip can pass chunk by chunk with the result of one pass. A
// three-dimensional convolution is a sum of two-dimensional ones, one per temporal tap: for few
// channels that is 3 to 20 times faster on a CPU than conv3d, and equal for many.
// Source: the Wan 2.1 VAE (Wan Team 2025, section 4.1), tensor names of diffusers'
// AutoencoderKLWan.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "zoetrope/networks/weight_source.h"

namespace zoetrope::wan_vae {

/// What causal layers remember between the chunks of one clip. Layers take their slots in the order
/// of the forward pass.
class ChunkHistory {
 public:
  struct Slot {
    at::Tensor rows;       ///< earlier frames that the layer needs; undefined when there are none
    bool started = false;  ///< whether a chunk has passed
  };

  explicit ChunkHistory(int64_t batch) : batch_(batch) {}
  int64_t batch() const { return batch_; }
  /// To be called before each chunk.
  void begin_chunk() { next_ = 0; }
  Slot& next_slot();

 private:
  int64_t batch_;
  size_t next_ = 0;
  std::deque<Slot> slots_;
};

class Layer {
 public:
  virtual ~Layer() = default;
  /// rows [T*B, C, H, W] -> rows; `history` belongs to the clip.
  virtual at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const = 0;
};

/// Convolution over `kernel_t` frames (this and earlier ones) and kernel_s x kernel_s pixels,
/// size-preserving.
class CausalConv {
 public:
  CausalConv(WeightSource& weights, const std::string& name, int64_t in_channels,
             int64_t out_channels, int64_t kernel_t, int64_t kernel_s);
  /// Uses and replaces the earlier frames in `slot`.
  at::Tensor forward(const at::Tensor& rows, int64_t batch, ChunkHistory::Slot& slot) const;
  at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const;
  /// For kernel_t = 1, which needs no history.
  at::Tensor forward(const at::Tensor& rows) const;

 private:
  std::vector<at::Tensor> taps_;  ///< oldest frame first, each [out, in, kernel_s, kernel_s]
  at::Tensor bias_;
  int64_t padding_;
};

/// L2 normalisation over channels times sqrt(C) gamma; `name`.gamma has one value per channel.
class RmsNorm {
 public:
  RmsNorm(WeightSource& weights, const std::string& name, int64_t channels, bool images);
  at::Tensor forward(const at::Tensor& rows) const;
  /// The norm followed by SiLU.
  at::Tensor forward_silu(const at::Tensor& rows) const;

 private:
  at::Tensor gain_1C11_;
};

class ResidualBlock : public Layer {
 public:
  ResidualBlock(WeightSource& weights, const std::string& name, int64_t in_channels,
                int64_t out_channels);
  at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const override;

 private:
  RmsNorm norm1_;
  CausalConv conv1_;
  RmsNorm norm2_;
  CausalConv conv2_;
  std::optional<CausalConv> shortcut_;
};

/// Self-attention among the pixels of each frame, one head.
class AttentionBlock : public Layer {
 public:
  AttentionBlock(WeightSource& weights, const std::string& name, int64_t channels);
  at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const override;

 private:
  RmsNorm norm_;
  at::Tensor qkv_weight_;  ///< [3C, C]
  at::Tensor qkv_bias_;
  at::Tensor out_weight_;  ///< [C, C]
  at::Tensor out_bias_;
};

/// Halves height and width, and the frame rate when `temporal`: the first chunk must be one frame
/// and stays one; later chunks must have an even number of frames.
class Downsample : public Layer {
 public:
  Downsample(WeightSource& weights, const std::string& name, int64_t channels, bool temporal);
  at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const override;

 private:
  at::Tensor halve_frame_rate(const at::Tensor& rows, ChunkHistory& history) const;

  at::Tensor weight_;
  at::Tensor bias_;
  std::vector<at::Tensor> time_taps_;
  at::Tensor time_bias_;
};

/// Doubles height and width (halving the channels), and the frame rate when `temporal`: the first
/// chunk must be one frame and stays one.
class Upsample : public Layer {
 public:
  Upsample(WeightSource& weights, const std::string& name, int64_t channels, bool temporal);
  at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const override;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  std::optional<CausalConv> time_conv_;
};

}  // namespace zoetrope::wan_vae
