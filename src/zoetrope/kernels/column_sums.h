// Sums over the rows of a matrix (gradients of biases) and their addition to a gradient.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope::kernels {

/// Column sums of x (fp32 or bf16 [rows, width], rows may be slices): fp32 [1, width].
at::Tensor column_sums(const at::Tensor& x);

/// target (fp32 or bf16, contiguous) += sums (fp32, as many elements).
void add_sums(const at::Tensor& target, const at::Tensor& sums);

}  // namespace zoetrope::kernels
