// The low-rank adapter of a linear layer on the CPU's packed matrix multiplication, with gradients
// added straight to the flat buffers. Knows no autograd graph and not the layer itself. The twin is
// linear() of transformer_block.h under autograd.
#pragma once

#include "zoetrope/kernels/packed_matmul.h"
#include "zoetrope/networks/lora/lora_adapters.h"

namespace zoetrope {

/// The rows of `tensor` [rows, columns], which may be slices of wider rows.
kernels::Matrix matrix_of(const at::Tensor& tensor);

class FusedLowRank {
 public:
  /// The layer's outputs are columns [first_feature, ...) of the tensors that hold its outputs.
  FusedLowRank(const LowRankParameters& parameters, int64_t first_feature);

  /// Adds (x A^T) B^T * scale to the layer's columns of `out` [N, ...], then does what `output`
  /// says about the activation.
  void forward(const at::Tensor& x, const at::Tensor& out, kernels::TileOutput output) const;
  /// Adds (d_out B) A * scale, with what `output` says about the activation, to output.target
  /// [N, in_features]; d_out as `out` of forward().
  void input_gradient(const at::Tensor& d_out, kernels::TileOutput output) const;
  /// Adds to the gradients of A and B.
  void weight_gradient(const at::Tensor& x, const at::Tensor& d_out) const;

 private:
  at::Tensor layer_columns(const at::Tensor& rows) const;
  /// x A^T [N, rank].
  at::Tensor project(const at::Tensor& x) const;
  /// d_out B [N, rank].
  at::Tensor back_project(const at::Tensor& d_out) const;
  void add_gradient(const kernels::Matrix& a, const kernels::Matrix& b,
                    const Parameter& parameter) const;

  LowRankParameters parameters_;
  int64_t first_feature_;
  kernels::Element element_;
};

}  // namespace zoetrope
