// The parameters of one network in flat buffers, one group per transformer block: fp32 masters, the
// values that the forward pass reads (the masters themselves, or bf16 shadows), and gradients.
// Norms, AdamW, EMA, zeroing, sharding and checkpoints are then linear passes over a few buffers.
// Of a store that is spread over ranks, each rank keeps one equal part of every group's buffers,
// and the whole is there only while the ParameterResidency says so. Knows no network, no optimizer
// and no other rank.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "zoetrope/tensor/named_tensors.h"
#include "zoetrope/tensor/parameter_residency.h"
#include "zoetrope/tensor/tensor_shard.h"

namespace zoetrope {

/// Parameters that live in one set of flat buffers, in this order (neighbours such as to_q, to_k,
/// to_v are adjacent).
struct ParameterGroupSpec {
  std::string name;  ///< `blocks.3`, or `root` for what is in no block
  std::vector<TensorSpec> parameters;
};

/// Elements of the group's whole buffers when they are split into `num_shards` parts.
int64_t padded_elements(const ParameterGroupSpec& spec, int64_t num_shards);

/// One parameter: views into its group's whole buffers.
struct Parameter {
  std::string name;     ///< the tensor's name in the Diffusers file
  int64_t offset = 0;   ///< first element in the group's whole buffers
  at::Tensor value;     ///< compute type, an autograd leaf; the masters' memory when that is fp32
                        ///< and nothing is spread over ranks
  at::Tensor gradient;  ///< compute type, also `value.grad()`; undefined when frozen
};

struct ParameterGroup {
  std::string name;
  int64_t num_elements = 0;  ///< of the whole buffers, padding included
  // This rank's part, which optimizers, averages and checkpoints work on.
  at::Tensor flat_master;    ///< fp32; undefined for a frozen network that computes in another type
  at::Tensor flat_value;     ///< compute type; the same memory as flat_master when that is fp32
  at::Tensor flat_gradient;  ///< undefined when frozen
  // The whole [num_elements], which the network works on: the same memory, or without memory until
  // it is gathered.
  at::Tensor whole_value;
  at::Tensor whole_gradient;
  bool gradient_is_zero =
      true;  ///< whole_gradient, since it was zeroed; whoever adds to it clears this
  std::vector<Parameter> parameters;
};

class ParameterStore {
 public:
  struct Options {
    at::Device device = at::kCPU;
    at::ScalarType compute_dtype = at::kFloat;
    bool trainable = true;
    /// Parts that every group is split into, and which of them is kept here.
    int64_t num_shards = 1;
    int64_t shard_index = 0;
    /// Gradients of a micro-batch have a buffer of their own (whole_gradient) and are added to
    /// flat_gradient, which is fp32, by the ParameterResidency. Always so with several shards.
    bool separate_gradients = false;

    bool separates_gradients() const { return separate_gradients || num_shards > 1; }
  };

  /// Allocates the buffers (zeroed). Each parameter starts at a multiple of 64 bytes of every
  /// whole buffer. With several shards a residency must be set before the values are used.
  ParameterStore(const std::vector<ParameterGroupSpec>& specs, Options options);

  const Options& options() const { return options_; }
  ParameterResidency& residency() const { return *residency_; }
  void set_residency(std::unique_ptr<ParameterResidency> residency) {
    residency_ = std::move(residency);
  }
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
  /// The same with the shapes of whole tensors, as they are in files.
  std::vector<TensorSpec> whole_specs() const;
  /// Copies `tensors` (any type, any device; names and shapes as in whole_specs()), or what of them
  /// is kept here, into masters and values.
  void load(const NamedTensors& tensors);
  /// What is kept here of the masters (or of the values of a frozen network), as views.
  TensorShards shards() const;
  /// The same of other buffers, one for each group with the shape of flat_master.
  TensorShards shards_of(const std::vector<at::Tensor>& flat_buffers) const;
  /// The whole masters (or values of a frozen network) in the order of the groups: views, or copies
  /// on the CPU when they are spread over ranks, all of which must then call this; ranks that need
  /// nothing say so and get nothing.
  NamedTensors tensors(bool needed = true) const;
  /// Says that tensor-parallel ranks have equal parts of the parameters whose shape differs from
  /// that in `whole` (the same groups and names) in one dimension, and that this is the rank
  /// `index`.
  void declare_parts(const std::vector<ParameterGroupSpec>& whole, int64_t index);
  /// 0 where no parts were declared.
  int64_t part_index() const { return part_index_; }
  /// None for a parameter that is whole.
  std::optional<TensorPart> part(const std::string& name) const;
  /// The same of other buffers, one for each group.
  NamedTensors tensors_of(const std::vector<at::Tensor>& flat_buffers, bool needed = true) const;
  /// Copies the masters into the bf16 values; nothing to do when they share memory.
  void refresh_values();
  void zero_gradients();

 private:
  void allocate(const ParameterGroupSpec& spec);
  void allocate_whole(ParameterGroup& group) const;
  std::vector<at::Tensor> kept_buffers() const;

  Options options_;
  std::unique_ptr<ParameterResidency> residency_ = std::make_unique<AlwaysResident>();
  std::vector<ParameterGroup> groups_;
  std::unordered_map<std::string, std::pair<size_t, size_t>> index_;
  std::unordered_map<std::string, TensorPart> parts_;
  int64_t part_index_ = 0;
};

}  // namespace zoetrope
