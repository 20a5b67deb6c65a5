// A tensor's elements as a pointer, in kernels that have checked the type. Internal to kernels/.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope::kernels {

/// The tensor's elements, or null when it is undefined.
template <class T>
T* data(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

}  // namespace zoetrope::kernels
