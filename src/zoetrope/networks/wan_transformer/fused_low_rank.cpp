#include "zoetrope/networks/wan_transformer/fused_low_rank.h"

#include <ATen/ATen.h>

namespace zoetrope {

using kernels::Element;
using kernels::Matrix;
using kernels::TileOutput;

kernels::Matrix matrix_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr(), tensor.size(0), tensor.size(1), tensor.stride(0), 1};
}

FusedLowRank::FusedLowRank(const LowRankParameters& parameters, int64_t first_feature)
    : parameters_(parameters),
      first_feature_(first_feature),
      element_(parameters.a->value.scalar_type() == at::kBFloat16 ? Element::kBf16
                                                                  : Element::kFp32) {}

void FusedLowRank::forward(const at::Tensor& x, const at::Tensor& out, TileOutput output) const {
  const at::Tensor columns = layer_columns(out);
  output.target = columns.mutable_data_ptr();
  output.scale = static_cast<float>(parameters_.scale);
  output.accumulate = true;
  kernels::packed_matmul(element_, matrix_of(project(x)),
                         matrix_of(parameters_.b->value).transposed(), output);
}

void FusedLowRank::input_gradient(const at::Tensor& d_out, TileOutput output) const {
  output.scale = static_cast<float>(parameters_.scale);
  output.accumulate = true;
  kernels::packed_matmul(element_, matrix_of(back_project(d_out)), matrix_of(parameters_.a->value),
                         output);
}

void FusedLowRank::weight_gradient(const at::Tensor& x, const at::Tensor& d_out) const {
  add_gradient(matrix_of(back_project(d_out)).transposed(), matrix_of(x), *parameters_.a);
  add_gradient(matrix_of(layer_columns(d_out)).transposed(), matrix_of(project(x)), *parameters_.b);
}

at::Tensor FusedLowRank::layer_columns(const at::Tensor& rows) const {
  return rows.narrow(1, first_feature_, parameters_.b->value.size(0));
}

at::Tensor FusedLowRank::project(const at::Tensor& x) const {
  at::Tensor projected = at::empty({x.size(0), parameters_.a->value.size(0)}, x.options());
  TileOutput output;
  output.element = element_;
  output.target = projected.mutable_data_ptr();
  output.stride = projected.stride(0);
  kernels::packed_matmul(element_, matrix_of(x), matrix_of(parameters_.a->value).transposed(),
                         output);
  return projected;
}

at::Tensor FusedLowRank::back_project(const at::Tensor& d_out) const {
  at::Tensor projected = at::empty({d_out.size(0), parameters_.b->value.size(1)}, d_out.options());
  TileOutput output;
  output.element = element_;
  output.target = projected.mutable_data_ptr();
  output.stride = projected.stride(0);
  kernels::packed_matmul(element_, matrix_of(layer_columns(d_out)), matrix_of(parameters_.b->value),
                         output);
  return projected;
}

void FusedLowRank::add_gradient(const Matrix& a, const Matrix& b,
                                const Parameter& parameter) const {
  TileOutput output;
  output.element = element_;
  output.target = parameter.gradient.mutable_data_ptr();
  output.stride = parameter.gradient.stride(0);
  output.scale = static_cast<float>(parameters_.scale);
  output.accumulate = true;
  kernels::packed_matmul(element_, a, b, output);
}

}  // namespace zoetrope
