// Where layers get their tensors from while a network is built. A network is built twice: once from
// a SpecRecorder, which collects the names and shapes that it needs, and once from LoadedWeights,
// after the file was checked against them. So every shape is written once, in the layer that uses
// it.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The tensor `name`, which must have `shape`.
  virtual at::Tensor get(const std::string& name, const std::vector<int64_t>& shape) = 0;
};

/// Answers with tensors without storage, and remembers what was asked for.
class SpecRecorder : public WeightSource {
 public:
  at::Tensor get(const std::string& name, const std::vector<int64_t>& shape) override;
  const std::vector<TensorSpec>& specs() const { return specs_; }

 private:
  std::vector<TensorSpec> specs_;
};

/// Answers from `tensors`, moved to `device` and `dtype` when they are asked for.
class LoadedWeights : public WeightSource {
 public:
  LoadedWeights(const NamedTensors& tensors, at::Device device, at::ScalarType dtype);
  /// Throws CheckpointError when the tensor is missing or has another shape.
  at::Tensor get(const std::string& name, const std::vector<int64_t>& shape) override;

 private:
  std::unordered_map<std::string, at::Tensor> tensors_;
  at::Device device_;
  at::ScalarType dtype_;
};

}  // namespace zoetrope
