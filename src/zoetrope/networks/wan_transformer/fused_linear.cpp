#include "zoetrope/networks/wan_transformer/fused_linear.h"

#include <ATen/ATen.h>

#include "zoetrope/kernels/column_sums.h"

namespace zoetrope {
namespace {

using kernels::Element;
using kernels::Matrix;
using kernels::TileOutput;

void* advanced(const void* base, int64_t elements, Element element) {
  return base == nullptr ? nullptr
                         : static_cast<char*>(const_cast<void*>(base)) +
                               elements * kernels::element_bytes(element);
}

/// Columns [first, first + count) of `matrix`.
Matrix columns_of(const Matrix& matrix, int64_t first, int64_t count, Element element) {
  return {advanced(matrix.data, first, element), matrix.rows, count, matrix.row_stride, 1};
}

/// Whether `next` lies behind `count` elements of `first` in the buffers of their group.
bool follows(const Parameter& first, int64_t count, const Parameter& next) {
  return next.value.storage().is_alias_of(first.value.storage()) &&
         next.offset == first.offset + count;
}

}  // namespace

FusedLinear::FusedLinear(const std::vector<LinearParameters>& layers) : layers_(layers) {
  element_ =
      layers[0].weight->value.scalar_type() == at::kBFloat16 ? Element::kBf16 : Element::kFp32;
  in_features_ = layers[0].weight->value.numel() / layers[0].weight->value.size(0);
  for (const LinearParameters& layer : layers) add_layer(layer);
}

void FusedLinear::add_layer(const LinearParameters& layer) {
  const int64_t features = layer.weight->value.size(0);
  if (layer.low_rank) adapters_.emplace_back(*layer.low_rank, out_features_);
  const Part part{layer.weight, layer.bias, out_features_, features};
  out_features_ += features;
  if (!parts_.empty()) {
    Part& last = parts_.back();
    if (follows(*last.weight, last.num_features * in_features_, *part.weight) &&
        follows(*last.bias, last.num_features, *part.bias)) {
      last.num_features += features;
      return;
    }
  }
  parts_.push_back(part);
}

void FusedLinear::forward(const at::Tensor& x, const at::Tensor& out) const {
  forward(x, out, {});
}

void FusedLinear::forward_gelu(const at::Tensor& x, const at::Tensor& before,
                               const at::Tensor& activated) const {
  TORCH_INTERNAL_ASSERT(layers_.size() == 1);
  TileOutput output;
  output.activation = kernels::Activation::kGelu;
  output.activation_buffer = activated.mutable_data_ptr();
  forward(x, before, output);
}

void FusedLinear::forward(const at::Tensor& x, const at::Tensor& out, TileOutput output) const {
  output.element = element_;
  output.stride = out.stride(0);
  output.bias_element = element_;
  // The activation belongs to the last product that is added.
  TileOutput part_output = output;
  if (!adapters_.empty()) part_output.activation = kernels::Activation::kNone;
  for (const Part& part : parts_) {
    part_output.target = advanced(out.mutable_data_ptr(), part.first_feature, element_);
    part_output.bias = part.bias->value.const_data_ptr();
    const Matrix weight{part.weight->value.const_data_ptr(), part.num_features, in_features_,
                        in_features_, 1};
    kernels::packed_matmul(element_, matrix_of(x), weight.transposed(), part_output);
  }
  for (const FusedLowRank& adapter : adapters_) adapter.forward(x, out, output);
}

void FusedLinear::input_gradient(const at::Tensor& d_out, const at::Tensor& d_x) const {
  input_gradient(d_out, d_x, {});
}

void FusedLinear::input_gradient_gelu(const at::Tensor& d_out, const at::Tensor& before,
                                      const at::Tensor& d_before) const {
  TORCH_INTERNAL_ASSERT(parts_.size() == 1);
  TileOutput output;
  output.activation = kernels::Activation::kGeluBackward;
  output.activation_buffer = before.mutable_data_ptr();
  input_gradient(d_out, d_before, output);
}

void FusedLinear::input_gradient(const at::Tensor& d_out, const at::Tensor& d_x,
                                 TileOutput output) const {
  output.element = element_;
  output.stride = d_x.stride(0);
  output.target = d_x.mutable_data_ptr();
  for (const Part& part : parts_) {
    const Matrix weight{part.weight->value.const_data_ptr(), part.num_features, in_features_,
                        in_features_, 1};
    kernels::packed_matmul(
        element_, columns_of(matrix_of(d_out), part.first_feature, part.num_features, element_),
        weight, output);
    output.accumulate = true;
  }
  for (const FusedLowRank& adapter : adapters_) adapter.input_gradient(d_out, output);
}

void FusedLinear::weight_gradient(const at::Tensor& x, const at::Tensor& d_out,
                                  bool overwrite) const {
  for (const Part& part : parts_) {
    if (!part.weight->gradient.defined()) continue;
    TileOutput output;
    output.element = element_;
    output.stride = in_features_;
    output.target = part.weight->gradient.mutable_data_ptr();
    output.accumulate = !overwrite;
    const Matrix part_d_out =
        columns_of(matrix_of(d_out), part.first_feature, part.num_features, element_);
    kernels::packed_matmul(element_, part_d_out.transposed(), matrix_of(x), output);
  }
  for (const FusedLowRank& adapter : adapters_) adapter.weight_gradient(x, d_out);
}

void FusedLinear::bias_gradient(const at::Tensor& sums) const {
  int64_t first = 0;
  for (const LinearParameters& layer : layers_) {
    const int64_t features = layer.weight->value.size(0);
    if (layer.bias->gradient.defined()) {
      kernels::add_sums(layer.bias->gradient, sums.view({-1}).narrow(0, first, features));
    }
    first += features;
  }
}

}  // namespace zoetrope
