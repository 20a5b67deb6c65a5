#include "zoetrope/tensor/named_tensors.h"

#include <fmt/ranges.h>

namespace zoetrope {

std::string format_shape(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace zoetrope
