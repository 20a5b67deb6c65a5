// A set of ranks that communicate, over c10d: Gloo for tensors of the CPU, NCCL for those of GPUs.
// A group of one rank does every operation on its own. All ranks of a group must call the same
// operations in the same order. Knows no model and no launcher. Legend: S ranks of the group.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

namespace c10d {
class Backend;
class Work;
}  // namespace c10d

namespace zoetrope {

/// A collective that has failed on this rank.
struct FailedCollective {
  std::string group;
  std::string operation;
  int64_t call = 0;            ///< the same on all ranks of the group
  std::vector<int64_t> ranks;  ///< of the group
  int64_t rank = 0;
  double waited_sec = 0.0;
};

/// Says why a collective has failed, with what the other ranks tell; the end of a sentence that
/// says what must hold.
using ExplainFailure = std::function<std::string(const FailedCollective&)>;

/// A collective that may still be under way; its tensors are kept alive, and must not be used
/// before wait() has returned.
class PendingCollective {
 public:
  PendingCollective() = default;
  /// Returns when the result is there (on a GPU: when the current stream will wait for it). Throws
  /// DistributedError that names the operation, the group and its ranks when it failed or timed
  /// out.
  void wait();

 private:
  friend class Group;
  struct State;
  std::shared_ptr<State> state_;  ///< null when nothing is under way
};

/// What a rank has sent to others.
struct Traffic {
  int64_t num_calls = 0;
  int64_t num_bytes = 0;  ///< that leave this rank, by the operation's least volume
};

class Group {
 public:
  /// A group of this rank alone.
  static std::shared_ptr<Group> alone(std::string name);
  /// What carries tensors of the CPU, and those of the run's device if that is another one.
  struct Backends {
    c10::intrusive_ptr<c10d::Backend> cpu;
    c10::intrusive_ptr<c10d::Backend> device;

    Backends();
    Backends(c10::intrusive_ptr<c10d::Backend> for_cpu,
             c10::intrusive_ptr<c10d::Backend> for_device);
    ~Backends();
    Backends(const Backends&);
    Backends& operator=(const Backends&) = delete;
  };
  /// `ranks`: the members' ranks in the run, in the order of the backends.
  Group(std::string name, const Backends& backends, std::vector<int64_t> ranks, int64_t index,
        ExplainFailure explain = {});
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  const std::string& name() const { return name_; }
  /// This rank's place in the group.
  int64_t index() const { return index_; }
  int64_t size() const { return static_cast<int64_t>(ranks_.size()); }
  const std::vector<int64_t>& ranks() const { return ranks_; }
  const Traffic& traffic() const { return traffic_; }

  /// output [S * n] = the ranks' inputs [n] one after the other. Both contiguous and flat, of one
  /// type. `input` may be this rank's part of `output`.
  PendingCollective all_gather(const at::Tensor& input, const at::Tensor& output);
  /// output [n] = sum over ranks of their inputs' part [index * n, (index + 1) * n), in fp32 and in
  /// the pairwise order of the ranks (neighbours first), so that the bits do not depend on the
  /// number of ranks that a sum of micro-batches is spread over. `input` [S * n] fp32 or bf16,
  /// `output` fp32, both flat and contiguous.
  PendingCollective reduce_scatter_sum(const at::Tensor& input, const at::Tensor& output);
  /// values [n] = sum over ranks, in the order of reduce_scatter_sum. fp32 or bf16, flat,
  /// contiguous.
  PendingCollective all_reduce_sum(const at::Tensor& values);
  /// output part j = what rank j had as input part `index`; both [S * n], flat, contiguous.
  PendingCollective all_to_all(const at::Tensor& input, const at::Tensor& output);
  /// Copies rank `source`'s (index in the group) values to all.
  void broadcast(const at::Tensor& values, int64_t source);
  /// Every rank's numbers (the same count on each), rank by rank.
  std::vector<std::vector<double>> all_gather_numbers(const std::vector<double>& numbers);
  void barrier();

 private:
  c10d::Backend& backend_of(const at::Tensor& tensor) const;
  PendingCollective pending(const char* operation, int64_t num_bytes,
                            const c10::intrusive_ptr<c10d::Work>& work,
                            std::vector<at::Tensor> kept, std::function<void()> finish = {});

  std::string name_;
  Backends backends_;  ///< none for a group of one
  std::vector<int64_t> ranks_;
  int64_t index_;
  Traffic traffic_;
  ExplainFailure explain_;
};

/// Whether `value` holds on any rank of the group: for decisions that all must take alike.
bool any_rank(Group& group, bool value);

/// sum [n] = that of parts [S, n] fp32, neighbours first: ((0 + 1) + (2 + 3)) + ... Overwrites
/// parts.
void pairwise_sum(const at::Tensor& parts, const at::Tensor& sum);

}  // namespace zoetrope
