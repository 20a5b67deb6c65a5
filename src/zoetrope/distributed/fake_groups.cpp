#include "zoetrope/distributed/fake_groups.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace zoetrope {
namespace {

class FinishedWork : public c10d::Work {
 public:
  bool isCompleted() override { return true; }
  bool wait(std::chrono::milliseconds /*timeout*/) override { return true; }
};

class FakeBackend : public c10d::Backend {
 public:
  using Backend::Backend;

  const std::string getBackendName() const override { return "fake"; }

  c10::intrusive_ptr<c10d::Work> all_gather_single(
      at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& /*options*/) override {
    const at::Tensor parts = output.view({getSize(), -1});
    for (int64_t rank = 0; rank < getSize(); ++rank) {
      if (!parts[rank].is_alias_of(input) || rank != getRank()) parts[rank].copy_(input.view(-1));
    }
    return c10::make_intrusive<FinishedWork>();
  }

  c10::intrusive_ptr<c10d::Work> all_to_all_single(
      at::Tensor& output, at::Tensor& input, std::vector<int64_t>& /*output_sizes*/,
      std::vector<int64_t>& /*input_sizes*/, const c10d::AllToAllOptions& /*options*/) override {
    output.view({getSize(), -1}).copy_(input.view({getSize(), -1})[getRank()].unsqueeze(0));
    return c10::make_intrusive<FinishedWork>();
  }

  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& /*tensors*/,
                                           const c10d::BroadcastOptions& /*options*/) override {
    return c10::make_intrusive<FinishedWork>();
  }

  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions& /*options*/) override {
    return c10::make_intrusive<FinishedWork>();
  }
};

}  // namespace

GroupFactory fake_groups() {
  return [](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
    const auto backend =
        c10::make_intrusive<FakeBackend>(static_cast<int>(index), static_cast<int>(ranks.size()));
    return std::make_shared<Group>(name, Group::Backends(backend, backend), ranks, index);
  };
}

}  // namespace zoetrope
