// When the whole values and gradients of a network's parameter groups are in memory. A network
// brackets each use of a group; what happens then (nothing on one rank, gathering from and reducing
// to other ranks in zoetrope/distributed/) is not its business. Knows no network.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

class ParameterResidency {
 public:
  virtual ~ParameterResidency() = default;

  /// Whether backward passes must be announced block by block.
  virtual bool follows_backward() const = 0;
  /// The group's values are whole until release(). `next` is the group that will be used after it,
  /// if it is known: it may be fetched meanwhile.
  virtual void gather(size_t group, std::optional<size_t> next) = 0;
  virtual void release(size_t group) = 0;
  /// As gather() and release() around a forward pass whose backward pass will come; the backward
  /// pass brackets its use by begin_backward() and end_backward().
  virtual void expect_backward(size_t group) = 0;
  /// The group's values are whole, and its gradients can be added to, until end_backward().
  virtual void begin_backward(size_t group, std::optional<size_t> next) = 0;
  virtual void end_backward(size_t group) = 0;
  /// The group's values are whole and its gradients can be added to until finish_micro_batch(): for
  /// parameters that are used at both ends of the network.
  virtual void hold(size_t group) = 0;

  /// Brackets the backward pass of a micro-batch; `is_last` of the optimizer step. Behind the last
  /// one, the flat gradients are the sums over all ranks and micro-batches.
  virtual void begin_micro_batch(bool is_last) = 0;
  virtual void finish_micro_batch() = 0;

  /// This rank's numbers and those of the ranks that hold the other shards, in the order of the
  /// shards. Every rank gives as many.
  virtual std::vector<std::vector<double>> gather_numbers(const std::vector<double>& numbers) = 0;
  /// One rank's numbers of each tensor-parallel rank, in their order.
  virtual std::vector<std::vector<double>> gather_part_numbers(
      const std::vector<double>& numbers) = 0;
  /// The whole of a flat buffer of which each rank has a shard, on the CPU; `shard` itself where
  /// nothing is spread. All ranks must call it.
  virtual at::Tensor gather_flat(const at::Tensor& shard) = 0;
  /// The whole tensor of `whole_shape` on the CPU, of which tensor-parallel ranks have parts. All
  /// of them must call it.
  virtual at::Tensor gather_parts(const at::Tensor& part, at::IntArrayRef whole_shape) = 0;
};

/// Everything is in memory at all times.
class AlwaysResident : public ParameterResidency {
 public:
  bool follows_backward() const override { return false; }
  void gather(size_t /*group*/, std::optional<size_t> /*next*/) override {}
  void release(size_t /*group*/) override {}
  void expect_backward(size_t /*group*/) override {}
  void begin_backward(size_t /*group*/, std::optional<size_t> /*next*/) override {}
  void end_backward(size_t /*group*/) override {}
  void hold(size_t /*group*/) override {}
  void begin_micro_batch(bool /*is_last*/) override {}
  void finish_micro_batch() override {}
  std::vector<std::vector<double>> gather_numbers(const std::vector<double>& numbers) override {
    return {numbers};
  }
  std::vector<std::vector<double>> gather_part_numbers(
      const std::vector<double>& numbers) override {
    return {numbers};
  }
  at::Tensor gather_flat(const at::Tensor& shard) override { return shard; }
  at::Tensor gather_parts(const at::Tensor& part, at::IntArrayRef /*whole_shape*/) override {
    return part;
  }
};

}  // namespace zoetrope
