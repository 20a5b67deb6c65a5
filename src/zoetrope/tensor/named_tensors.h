// Tensors by name, in a fixed order: what a network's weights look like between a file and a
// network.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// Name and tensor, in the order of the file or of the network.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Name and shape of a tensor that a network needs.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

/// `[2, 16, 4]`.
std::string format_shape(at::IntArrayRef shape);

}  // namespace zoetrope
