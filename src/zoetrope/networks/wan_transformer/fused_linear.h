// Linear layers, with their low-rank adapters, on the CPU's packed matrix multiplication, with
// weight gradients written straight into the flat gradient buffers. Knows no autograd graph. The
// twin is linear() of transformer_block.h under autograd.
#pragma once

#include <vector>

#include "zoetrope/kernels/packed_matmul.h"
#include "zoetrope/networks/wan_transformer/fused_low_rank.h"
#include "zoetrope/networks/wan_transformer/transformer_block.h"

namespace zoetrope {

/// One linear layer, or several that read the same input and are computed as one where their
/// parameters are adjacent.
class FusedLinear {
 public:
  FusedLinear() = default;
  explicit FusedLinear(const std::vector<LinearParameters>& layers);

  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }

  /// out [N, out_features] = x W^T + b; rows of x and out may be slices of wider rows.
  void forward(const at::Tensor& x, const at::Tensor& out) const;
  /// before = x W^T + b and activated = gelu(before), tanh form.
  void forward_gelu(const at::Tensor& x, const at::Tensor& before,
                    const at::Tensor& activated) const;
  /// d_x [N, in_features] = d_out W.
  void input_gradient(const at::Tensor& d_out, const at::Tensor& d_x) const;
  /// d_before = (d_out W) * gelu'(before).
  void input_gradient_gelu(const at::Tensor& d_out, const at::Tensor& before,
                           const at::Tensor& d_before) const;
  /// Adds d_out^T x to the weights' gradients, nothing for frozen weights, and the gradients of the
  /// adapters. `overwrite`: the weights' gradients are known to be zero.
  void weight_gradient(const at::Tensor& x, const at::Tensor& d_out, bool overwrite) const;
  /// Adds the column sums of d_out (fp32 [1, out_features], in the order of the layers) to the
  /// biases' gradients.
  void bias_gradient(const at::Tensor& sums) const;

 private:
  /// Layers whose weights and biases lie one after the other, known by the first one: its memory
  /// may be another one at every use.
  struct Part {
    const Parameter* weight;
    const Parameter* bias;
    int64_t first_feature;
    int64_t num_features;
  };

  void add_layer(const LinearParameters& layer);
  void forward(const at::Tensor& x, const at::Tensor& out, kernels::TileOutput output) const;
  void input_gradient(const at::Tensor& d_out, const at::Tensor& d_x,
                      kernels::TileOutput output) const;

  kernels::Element element_ = kernels::Element::kFp32;
  int64_t in_features_ = 0;
  int64_t out_features_ = 0;
  std::vector<Part> parts_;
  std::vector<LinearParameters> layers_;
  std::vector<FusedLowRank> adapters_;
};

}  // namespace zoetrope
