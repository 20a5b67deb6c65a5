// The parameters of one network in flat buffers, one group per transformer block: fp32 masters, the
// values that the forward pass reads (the masters themselves, or bf16 shadows), and gradients.
// Norms, AdamW, EMA, zeroing, sharding and checkpoints are then linear passes over a few buffers.
// Knows no network and no optimizer.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

/// Parameters that live in one set of flat buffers, in this order (neighbours such as to_q, to_k,
/// to_v are adjacent).
struct ParameterGroupSpec {
  std::string name;  ///< `blocks.3`, or `root` for what is in no block
  std::vector<TensorSpec> parameters;
};

/// One parameter: views into its group's buffers.
struct Parameter {
  std::string name;    ///< the tensor's name in the Diffusers file
  int64_t offset = 0;  ///< first element in the group's flat buffers
  at::Tensor master;   ///< fp32; undefined for a frozen network that computes in another type
  at::Tensor
      value;  ///< compute type, an autograd leaf; the same memory as `master` when that is fp32
  at::Tensor gradient;  ///< compute type, also `value.grad()`; undefined when frozen
};

struct ParameterGroup {
  std::string name;
  int64_t num_elements = 0;  ///< of the flat buffers, padding included
  at::Tensor flat_master;    ///< fp32 [num_elements]; undefined as in Parameter
  at::Tensor flat_value;
  at::Tensor flat_gradient;
  bool gradient_is_zero =
      true;  ///< since zero_gradients(); whoever adds to the gradients clears it
  std::vector<Parameter> parameters;
};

class ParameterStore {
 public:
  struct Options {
    at::Device device = at::kCPU;
    at::ScalarType compute_dtype = at::kFloat;
    bool trainable = true;
  };

  /// Allocates the buffers (zeroed). Each parameter starts at a multiple of 64 bytes of every
  /// buffer.
  ParameterStore(const std::vector<ParameterGroupSpec>& specs, Options options);

  const Options& options() const { return options_; }
  bool trainable() const { return options_.trainable; }
  std::vector<ParameterGroup>& groups() { return groups_; }
  const std::vector<ParameterGroup>& groups() const { return groups_; }
  bool contains(const std::string& name) const { return index_.contains(name); }
  /// The parameter `name`. Throws Error when there is none.
  const Parameter& at(const std::string& name) const;
  /// The leaf that the forward pass uses.
  const at::Tensor& value(const std::string& name) const { return at(name).value; }
  int64_t num_parameters() const;

  /// Name and shape of every parameter, in the order of the groups.
  std::vector<TensorSpec> specs() const;
  /// Copies `tensors` (any type, any device; names and shapes as in specs()) into masters and
  /// values.
  void load(const NamedTensors& tensors);
  /// The masters (or the values of a frozen network), as views, in the order of the groups.
  NamedTensors tensors() const;
  /// Copies the masters into the bf16 values; nothing to do when they share memory.
  void refresh_values();
  void zero_gradients();

 private:
  void allocate(const ParameterGroupSpec& spec);

  Options options_;
  std::vector<ParameterGroup> groups_;
  std::unordered_map<std::string, std::pair<size_t, size_t>> index_;
};

}  // namespace zoetrope
