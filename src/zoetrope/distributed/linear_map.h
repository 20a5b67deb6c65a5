// A linear map of tensors with a given adjoint as one operation that autograd differentiates: what
// exchanges between ranks are.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

using TensorMap = std::function<std::vector<at::Tensor>(at::TensorList)>;

/// map(inputs), whose gradient is adjoint(gradients of the outputs).
std::vector<at::Tensor> apply_linear_map(at::TensorList inputs, TensorMap map, TensorMap adjoint);

}  // namespace zoetrope
