// Hybrid sharded data parallelism (HSDP) of one network's parameters: groups are gathered for use
// one ahead, freed after it, and their gradients are summed over all ranks that see other data.
// With one shard it is plain data parallelism. Knows no network. Source: ZeRO (arXiv 1910.02054),
// PyTorch FSDP (arXiv 2304.11277); decision 0012.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "zoetrope/distributed/group.h"
#include "zoetrope/distributed/memory_pool.h"
#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

struct ShardingOptions {
  /// Gradients travel as this, fp32 or bf16; they are summed in fp32.
  at::ScalarType reduce_dtype = at::kFloat;
  /// Sums have the same bits however many ranks (a power of two) share the micro-batches of a step:
  /// each one's gradient is kept apart and added pairwise, neighbours first.
  bool deterministic = false;
};

class ShardedParameters : public ParameterResidency {
 public:
  struct Groups {
    std::shared_ptr<Group> shard;     ///< the ranks that hold the other shards
    std::shared_ptr<Group> replicas;  ///< those that hold the same shard and see other data
    std::shared_ptr<Group> tensor;    ///< those that hold other parts of the tensors themselves
  };

  /// Gradients are summed over `shard` and `replicas`. Borrows `parameters`, whose options must fit
  /// the shard group. `pool` is shared by the networks of a run. Throws Error when the options do
  /// not fit.
  ShardedParameters(ParameterStore& parameters, Groups groups, const ShardingOptions& options,
                    std::shared_ptr<MemoryPool> pool);

  bool follows_backward() const override { return true; }
  void gather(size_t group, std::optional<size_t> next) override;
  void release(size_t group) override;
  void expect_backward(size_t group) override;
  void begin_backward(size_t group, std::optional<size_t> next) override;
  void end_backward(size_t group) override;
  void hold(size_t group) override;
  void begin_micro_batch(bool is_last) override;
  void finish_micro_batch() override;
  std::vector<std::vector<double>> gather_numbers(const std::vector<double>& numbers) override;
  std::vector<std::vector<double>> gather_part_numbers(const std::vector<double>& numbers) override;
  at::Tensor gather_flat(const at::Tensor& shard) override;
  at::Tensor gather_parts(const at::Tensor& part, at::IntArrayRef whole_shape) override;

 private:
  /// Of a group: number of micro-batches (falling powers of two) and the sum of their gradients.
  using PartialSums = std::vector<std::pair<int64_t, at::Tensor>>;

  struct GroupState {
    int64_t num_users = 0;              ///< of the whole values
    PendingCollective gathering;        ///< while the values are on their way
    bool has_values = false;            ///< there, or on their way
    bool has_gradient = false;          ///< whole_gradient holds what was not reduced yet
    bool has_step_gradient = false;     ///< flat_gradient does, of earlier micro-batches
    bool is_summed = false;             ///< flat_gradient is the sum over the replicas
    bool is_held = false;               ///< until the end of the micro-batch
    int64_t num_expected_backward = 0;  ///< forward passes whose backward pass has not come
    PartialSums partial_sums;           ///< deterministic only
  };
  /// A gradient on its way to the ranks that keep it.
  struct Reduction {
    size_t group;
    at::Tensor sum;  ///< fp32 shard
    PendingCollective pending;
    bool frees_gradient;  ///< whole_gradient is what is sent
  };

  bool is_sharded() const { return parameters_.options().num_shards > 1; }
  bool separates_gradients() const { return parameters_.options().separates_gradients(); }
  void fetch(size_t group);
  void drop_unused(size_t group);
  void prepare_gradient(size_t group);
  bool reduces_now(const GroupState& state) const;
  void reduce(size_t group);
  void finish_reduction();
  void add_in_pairs(size_t group, const at::Tensor& sum);
  static void merge_last_two(PartialSums& sums);
  void finish_step(size_t group);
  void reduce_over_replicas(size_t group);

  ParameterStore& parameters_;
  std::shared_ptr<Group> shard_;
  std::shared_ptr<Group> replicas_;
  std::shared_ptr<Group> tensor_;
  ShardingOptions options_;
  std::shared_ptr<MemoryPool> pool_;
  std::vector<GroupState> states_;
  std::optional<Reduction> reduction_;           ///< under way
  std::vector<PendingCollective> replica_sums_;  ///< under way
  bool is_last_micro_batch_ = true;
};

}  // namespace zoetrope
