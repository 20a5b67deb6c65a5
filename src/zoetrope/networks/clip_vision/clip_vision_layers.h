// The layers of the CLIP vision encoder. B batch, L tokens, D hidden_size.
#pragma once

#include <string>

#include "zoetrope/networks/clip_vision/clip_vision_encoder.h"
#include "zoetrope/networks/weight_source.h"

namespace zoetrope::clip_vision {

class LayerNorm {
 public:
  LayerNorm(WeightSource& weights, const std::string& name, const ClipVisionConfig& config);
  at::Tensor forward(const at::Tensor& hidden_BLD) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  double eps_;
};

class Linear {
 public:
  Linear(WeightSource& weights, const std::string& name, int64_t num_outputs, int64_t num_inputs);
  at::Tensor forward(const at::Tensor& input) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

/// Patches and the class token, with their positions.
class Embeddings {
 public:
  Embeddings(WeightSource& weights, const std::string& name, const ClipVisionConfig& config);
  at::Tensor forward(const at::Tensor& pixels_BCHW) const;

 private:
  at::Tensor class_D_;
  at::Tensor patch_weight_;
  at::Tensor position_LD_;
};

/// Self-attention and feed-forward, each behind a norm and with a residual.
class Layer {
 public:
  Layer(WeightSource& weights, const std::string& name, const ClipVisionConfig& config);
  at::Tensor forward(const at::Tensor& hidden_BLD) const;

 private:
  at::Tensor attend(const at::Tensor& normed_BLD) const;

  int64_t num_heads_;
  bool quick_gelu_;
  LayerNorm attention_norm_;
  Linear q_;
  Linear k_;
  Linear v_;
  Linear out_;
  LayerNorm feed_forward_norm_;
  Linear up_;
  Linear down_;
};

}  // namespace zoetrope::clip_vision
