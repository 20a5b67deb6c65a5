#include "zoetrope/networks/weight_source.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

at::Tensor SpecRecorder::get(const std::string& name, const std::vector<int64_t>& shape) {
  specs_.push_back({name, shape});
  return at::empty(shape, at::TensorOptions().device(at::kMeta).dtype(at::kFloat));
}

LoadedWeights::LoadedWeights(const NamedTensors& tensors, at::Device device, at::ScalarType dtype)
    : tensors_(tensors.begin(), tensors.end()), device_(device), dtype_(dtype) {}

at::Tensor LoadedWeights::get(const std::string& name, const std::vector<int64_t>& shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail<CheckpointError>("weights: must hold '{}', but it is missing", name);
  if (found->second.sizes() != at::IntArrayRef(shape)) {
    fail<CheckpointError>("weights: '{}' must have shape {}, but has {}", name, format_shape(shape),
                          format_shape(found->second.sizes()));
  }
  return found->second.to(device_, dtype_);
}

}  // namespace zoetrope
