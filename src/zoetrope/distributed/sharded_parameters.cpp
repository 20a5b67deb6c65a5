#include "zoetrope/distributed/sharded_parameters.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/distributed/tensor_parallel.h"

namespace zoetrope {

ShardedParameters::ShardedParameters(ParameterStore& parameters, Groups groups,
                                     const ShardingOptions& options,
                                     std::shared_ptr<MemoryPool> pool)
    : parameters_(parameters),
      shard_(std::move(groups.shard)),
      replicas_(std::move(groups.replicas)),
      tensor_(std::move(groups.tensor)),
      options_(options),
      pool_(std::move(pool)),
      states_(parameters.groups().size()) {
  const ParameterStore::Options& store = parameters.options();
  if (store.num_shards != shard_->size() || store.shard_index != shard_->index() ||
      (options_.deterministic && !store.separates_gradients())) {
    fail("sharded parameters: the store must be shard {} of {}{}, but is {} of {}", shard_->index(),
         shard_->size(), options_.deterministic ? " with separate gradients" : "",
         store.shard_index, store.num_shards);
  }
}

void ShardedParameters::fetch(size_t group) {
  GroupState& state = states_[group];
  if (!is_sharded() || state.has_values) return;
  const ParameterGroup& parameters = parameters_.groups()[group];
  pool_->attach(parameters.whole_value);
  state.gathering =
      shard_->all_gather(parameters.flat_value.detach(), untracked(parameters.whole_value));
  state.has_values = true;
}

void ShardedParameters::gather(size_t group, std::optional<size_t> next) {
  fetch(group);
  if (next) fetch(*next);
  ++states_[group].num_users;
  states_[group].gathering.wait();
}

void ShardedParameters::release(size_t group) {
  GroupState& state = states_[group];
  if (--state.num_users > 0 || !is_sharded()) return;
  pool_->detach(parameters_.groups()[group].whole_value);
  state.has_values = false;
}

void ShardedParameters::expect_backward(size_t group) {
  ++states_[group].num_expected_backward;
}

void ShardedParameters::prepare_gradient(size_t group) {
  GroupState& state = states_[group];
  if (state.has_gradient) return;
  if (reduction_ && reduction_->group == group) finish_reduction();
  TORCH_INTERNAL_ASSERT(!state.is_summed, "a gradient must not change after its sum over ranks");
  state.has_gradient = true;
  if (!separates_gradients()) return;
  ParameterGroup& parameters = parameters_.groups()[group];
  pool_->attach(parameters.whole_gradient);
  untracked(parameters.whole_gradient).zero_();
  parameters.gradient_is_zero = true;
}

void ShardedParameters::begin_backward(size_t group, std::optional<size_t> next) {
  gather(group, next);
  if (parameters_.trainable()) prepare_gradient(group);
}

void ShardedParameters::end_backward(size_t group) {
  release(group);
  parameters_.groups()[group].gradient_is_zero = false;
  --states_[group].num_expected_backward;
  if (parameters_.trainable() && reduces_now(states_[group])) reduce(group);
}

bool ShardedParameters::reduces_now(const GroupState& state) const {
  // Further passes may add to the same gradient. Waiting for them would keep every block's whole
  // gradient; that is the price of a fixed order of sums.
  if (is_sharded() && !options_.deterministic) return true;
  return state.num_expected_backward == 0 && (separates_gradients() || is_last_micro_batch_);
}

void ShardedParameters::hold(size_t group) {
  GroupState& state = states_[group];
  if (!state.is_held) gather(group, std::nullopt);
  state.is_held = true;
  if (parameters_.trainable()) prepare_gradient(group);
}

void ShardedParameters::begin_micro_batch(bool is_last) {
  is_last_micro_batch_ = is_last;
}

void ShardedParameters::finish_micro_batch() {
  for (size_t group = 0; group < states_.size(); ++group) {
    GroupState& state = states_[group];
    if (state.is_held) release(group);
    state.is_held = false;
    state.num_expected_backward = 0;
    drop_unused(group);
    if (state.has_gradient && (separates_gradients() || is_last_micro_batch_)) reduce(group);
  }
  if (reduction_) finish_reduction();
  if (!is_last_micro_batch_) return;
  for (size_t group = 0; group < states_.size(); ++group) finish_step(group);
  for (PendingCollective& sum : replica_sums_) sum.wait();
  replica_sums_.clear();
  for (GroupState& state : states_) state.is_summed = false;
}

void ShardedParameters::drop_unused(size_t group) {
  GroupState& state = states_[group];
  if (!is_sharded() || !state.has_values || state.num_users > 0) return;
  state.gathering.wait();
  pool_->detach(parameters_.groups()[group].whole_value);
  state.has_values = false;
}

void ShardedParameters::reduce(size_t group) {
  GroupState& state = states_[group];
  state.has_gradient = false;
  if (!separates_gradients()) return reduce_over_replicas(group);
  if (reduction_) finish_reduction();
  const ParameterGroup& parameters = parameters_.groups()[group];
  const at::Tensor gradient = untracked(parameters.whole_gradient);
  const at::Tensor sent = gradient.to(options_.reduce_dtype);
  // The step's first sum needs no place of its own.
  const bool is_first = !state.has_step_gradient && !options_.deterministic;
  state.has_step_gradient = !options_.deterministic;
  const at::Tensor sum =
      is_first ? parameters.flat_gradient : at::empty_like(parameters.flat_gradient);
  PendingCollective pending = shard_->reduce_scatter_sum(sent, sum);
  const bool sends_gradient = sent.is_same(gradient);
  if (!sends_gradient) pool_->detach(parameters.whole_gradient);
  reduction_ = {group, sum, std::move(pending), sends_gradient};
}

void ShardedParameters::finish_reduction() {
  Reduction reduction = std::move(*reduction_);
  reduction_.reset();
  reduction.pending.wait();
  const ParameterGroup& parameters = parameters_.groups()[reduction.group];
  if (reduction.frees_gradient) pool_->detach(parameters.whole_gradient);
  if (options_.deterministic) return add_in_pairs(reduction.group, reduction.sum);
  if (!reduction.sum.is_same(parameters.flat_gradient))
    parameters.flat_gradient.add_(reduction.sum);
}

void ShardedParameters::add_in_pairs(size_t group, const at::Tensor& sum) {
  replicas_->all_reduce_sum(sum).wait();
  auto& sums = states_[group].partial_sums;
  sums.emplace_back(1, sum);
  while (sums.size() > 1 && sums[sums.size() - 2].first == sums.back().first) merge_last_two(sums);
}

void ShardedParameters::merge_last_two(PartialSums& sums) {
  const auto [count, sum] = sums.back();
  sums.pop_back();
  sums.back().first += count;
  sums.back().second.add_(sum);
}

void ShardedParameters::finish_step(size_t group) {
  GroupState& state = states_[group];
  if (state.has_step_gradient) reduce_over_replicas(group);
  state.has_step_gradient = false;
  if (state.partial_sums.empty()) return;
  while (state.partial_sums.size() > 1) merge_last_two(state.partial_sums);
  parameters_.groups()[group].flat_gradient.copy_(state.partial_sums.front().second);
  state.partial_sums.clear();
}

void ShardedParameters::reduce_over_replicas(size_t group) {
  if (replicas_->size() == 1) return;
  states_[group].is_summed = true;
  replica_sums_.push_back(replicas_->all_reduce_sum(parameters_.groups()[group].flat_gradient));
}

std::vector<std::vector<double>> ShardedParameters::gather_numbers(
    const std::vector<double>& numbers) {
  return shard_->all_gather_numbers(numbers);
}

std::vector<std::vector<double>> ShardedParameters::gather_part_numbers(
    const std::vector<double>& numbers) {
  return tensor_->all_gather_numbers(numbers);
}

at::Tensor ShardedParameters::gather_flat(const at::Tensor& shard) {
  if (!is_sharded()) return shard;
  const at::NoGradGuard no_grad;
  const at::Tensor whole = at::empty({shard.numel() * shard_->size()}, shard.options());
  shard_->all_gather(shard.detach(), whole).wait();
  return whole.to(at::kCPU);
}

at::Tensor ShardedParameters::gather_parts(const at::Tensor& part, at::IntArrayRef whole_shape) {
  const at::NoGradGuard no_grad;
  return whole_of(tensor_, part.detach().to(at::kCPU), whole_shape).contiguous();
}

}  // namespace zoetrope
