#include "zoetrope/tensor/parameter_store.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr int64_t kAlignmentElements = 32;  // 64 bytes of bf16, 128 of fp32
// Of a shard, so that sums over its blocks (optim/gradient_norm) are those of the whole buffer.
constexpr int64_t kShardElements = int64_t{1} << 14;

int64_t num_elements_of(const TensorSpec& spec) {
  int64_t product = 1;
  for (int64_t size : spec.shape) product *= size;
  return product;
}

int64_t align(int64_t num_elements, int64_t multiple = kAlignmentElements) {
  return (num_elements + multiple - 1) / multiple * multiple;
}

/// Gives a tensor's memory back; it keeps its shape.
void free_memory(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  storage->set_data_ptr_noswap(c10::DataPtr(nullptr, tensor.device()));
  storage->set_nbytes(0);
}

}  // namespace

int64_t padded_elements(const ParameterGroupSpec& spec, int64_t num_shards) {
  int64_t num_elements = 0;
  for (const TensorSpec& parameter : spec.parameters)
    num_elements += align(num_elements_of(parameter));
  return num_shards > 1 ? align(num_elements, kShardElements * num_shards) : num_elements;
}

ParameterStore::ParameterStore(const std::vector<ParameterGroupSpec>& specs, Options options)
    : options_(options) {
  groups_.reserve(specs.size());
  for (const ParameterGroupSpec& spec : specs) allocate(spec);
}

void ParameterStore::allocate(const ParameterGroupSpec& spec) {
  ParameterGroup group;
  group.name = spec.name;
  group.num_elements = padded_elements(spec, options_.num_shards);
  const int64_t kept = group.num_elements / options_.num_shards;
  const auto options = at::TensorOptions().device(options_.device);
  group.flat_value = at::zeros({kept}, options.dtype(options_.compute_dtype));
  if (options_.compute_dtype == at::kFloat) {
    group.flat_master = group.flat_value;
  } else if (options_.trainable) {
    group.flat_master = at::zeros({kept}, options.dtype(at::kFloat));
  }
  if (options_.trainable) {
    group.flat_gradient = at::zeros(
        {kept},
        options.dtype(options_.separates_gradients() ? at::kFloat : options_.compute_dtype));
  }
  allocate_whole(group);
  int64_t offset = 0;
  for (const TensorSpec& parameter_spec : spec.parameters) {
    const int64_t num_elements = num_elements_of(parameter_spec);
    const auto view = [&](const at::Tensor& flat) {
      return flat.defined() ? flat.narrow(0, offset, num_elements).view(parameter_spec.shape)
                            : at::Tensor();
    };
    Parameter parameter{parameter_spec.name, offset, view(group.whole_value).detach(),
                        view(group.whole_gradient)};
    if (options_.trainable) {
      parameter.value.set_requires_grad(true);
      parameter.value.mutable_grad() = parameter.gradient;
    }
    if (!index_.emplace(parameter.name, std::pair(groups_.size(), group.parameters.size()))
             .second) {
      fail("parameter '{}' must be declared once, but is declared twice", parameter.name);
    }
    group.parameters.push_back(std::move(parameter));
    offset += align(num_elements);
  }
  if (options_.num_shards > 1) free_memory(group.whole_value);
  if (options_.trainable && options_.separates_gradients()) free_memory(group.whole_gradient);
  groups_.push_back(std::move(group));
}

void ParameterStore::allocate_whole(ParameterGroup& group) const {
  const at::TensorOptions whole = group.flat_value.options();
  group.whole_value =
      options_.num_shards > 1 ? at::empty({group.num_elements}, whole) : group.flat_value;
  if (!options_.trainable) return;
  group.whole_gradient =
      options_.separates_gradients() ? at::empty({group.num_elements}, whole) : group.flat_gradient;
}

const Parameter& ParameterStore::at(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail("parameter '{}' must be one of the network's, but is not", name);
  return groups_[found->second.first].parameters[found->second.second];
}

int64_t ParameterStore::num_parameters() const {
  int64_t total = 0;
  for (const TensorSpec& spec : specs()) total += num_elements_of(spec);
  return total;
}

std::vector<TensorSpec> ParameterStore::specs() const {
  std::vector<TensorSpec> specs;
  for (const ParameterGroup& group : groups_) {
    for (const Parameter& parameter : group.parameters)
      specs.push_back({parameter.name, parameter.value.sizes().vec()});
  }
  return specs;
}

std::vector<TensorSpec> ParameterStore::whole_specs() const {
  std::vector<TensorSpec> whole = specs();
  for (TensorSpec& spec : whole) {
    if (const auto split = part(spec.name)) spec.shape = split->whole_shape;
  }
  return whole;
}

void ParameterStore::load(const NamedTensors& tensors) {
  at::NoGradGuard no_grad;
  for (const auto& [name, whole] : tensors) {
    const Parameter& parameter = at(name);
    const at::IntArrayRef shape = parameter.value.sizes();
    const auto split = part(name);
    const at::IntArrayRef whole_shape = split ? at::IntArrayRef(split->whole_shape) : shape;
    if (whole.sizes() != whole_shape) {
      fail<CheckpointError>("parameter '{}' must have shape {}, but got {}", name,
                            format_shape(whole_shape), format_shape(whole.sizes()));
    }
    const at::Tensor tensor =
        split ? whole.narrow(split->dimension, split->offset, shape[split->dimension]) : whole;
    const ParameterGroup& group = groups_[index_.at(name).first];
    const int64_t kept = group.flat_value.numel();
    const int64_t first = options_.shard_index * kept;
    const int64_t begin = std::max(parameter.offset, first);
    const int64_t end = std::min(parameter.offset + tensor.numel(), first + kept);
    if (begin >= end) continue;
    const at::Tensor part = tensor.flatten().narrow(0, begin - parameter.offset, end - begin);
    group.flat_value.narrow(0, begin - first, end - begin).copy_(part);
    if (group.flat_master.defined() && !group.flat_master.is_same(group.flat_value))
      group.flat_master.narrow(0, begin - first, end - begin).copy_(part);
  }
}

std::vector<at::Tensor> ParameterStore::kept_buffers() const {
  std::vector<at::Tensor> buffers;
  for (const ParameterGroup& group : groups_)
    buffers.push_back(group.flat_master.defined() ? group.flat_master : group.flat_value);
  return buffers;
}

TensorShards ParameterStore::shards() const {
  return shards_of(kept_buffers());
}

TensorShards ParameterStore::shards_of(const std::vector<at::Tensor>& flat_buffers) const {
  TensorShards shards;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const int64_t kept = flat_buffers[i].numel();
    const int64_t first = options_.shard_index * kept;
    for (const Parameter& parameter : groups_[i].parameters) {
      const int64_t begin = std::max(parameter.offset, first);
      const int64_t end = std::min(parameter.offset + parameter.value.numel(), first + kept);
      if (begin >= end) continue;
      shards.push_back({parameter.name, parameter.value.sizes().vec(), begin - parameter.offset,
                        flat_buffers[i].narrow(0, begin - first, end - begin),
                        part(parameter.name)});
    }
  }
  return shards;
}

NamedTensors ParameterStore::tensors(bool needed) const {
  return tensors_of(kept_buffers(), needed);
}

NamedTensors ParameterStore::tensors_of(const std::vector<at::Tensor>& flat_buffers,
                                        bool needed) const {
  NamedTensors tensors;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const at::Tensor whole = residency_->gather_flat(flat_buffers[i]);
    for (const Parameter& parameter : groups_[i].parameters) {
      at::Tensor tensor =
          whole.narrow(0, parameter.offset, parameter.value.numel()).view(parameter.value.sizes());
      if (const auto split = part(parameter.name))
        tensor = residency_->gather_parts(tensor, split->whole_shape);
      if (needed) tensors.emplace_back(parameter.name, std::move(tensor));
    }
  }
  return tensors;
}

void ParameterStore::declare_parts(const std::vector<ParameterGroupSpec>& whole, int64_t index) {
  part_index_ = index;
  for (const ParameterGroupSpec& group : whole) {
    for (const auto& [name, whole_shape] : group.parameters) {
      const at::IntArrayRef own = at(name).value.sizes();
      for (size_t d = 0; d < whole_shape.size(); ++d) {
        if (whole_shape[d] != own[d])
          parts_[name] = {whole_shape, static_cast<int64_t>(d), index * own[d]};
      }
    }
  }
}

std::optional<TensorPart> ParameterStore::part(const std::string& name) const {
  const auto found = parts_.find(name);
  return found == parts_.end() ? std::nullopt : std::optional(found->second);
}

void ParameterStore::refresh_values() {
  for (ParameterGroup& group : groups_) {
    if (group.flat_master.defined() && !group.flat_master.is_same(group.flat_value)) {
      group.flat_value.copy_(group.flat_master);
    }
  }
}

void ParameterStore::zero_gradients() {
  for (ParameterGroup& group : groups_) {
    if (!group.flat_gradient.defined()) continue;
    group.flat_gradient.zero_();
    if (!options_.separates_gradients()) group.gradient_is_zero = true;
  }
}

}  // namespace zoetrope
