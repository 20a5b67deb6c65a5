#include "zoetrope/distributed/gloo_backend.h"

#include <limits>

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace zoetrope {
namespace {

using WorkPointer = c10::intrusive_ptr<c10d::Work>;

/// Done when all of its parts are.
class JoinedWork : public c10d::Work {
 public:
  explicit JoinedWork(std::vector<WorkPointer> parts) : parts_(std::move(parts)) {}

  bool wait(std::chrono::milliseconds timeout) override {
    bool done = true;
    for (const WorkPointer& part : parts_) done = part->wait(timeout) && done;
    return done;
  }

 private:
  std::vector<WorkPointer> parts_;
};

class DirectGloo : public c10d::ProcessGroupGloo {
 public:
  using ProcessGroupGloo::ProcessGroupGloo;

  WorkPointer all_gather_single(at::Tensor& output, at::Tensor& input,
                                const c10d::AllgatherOptions& /*options*/) override {
    const std::vector<at::Tensor> parts = output.chunk(getSize());
    // The same on all ranks, since all call the same operations in the same order.
    num_gathers_ = num_gathers_ == std::numeric_limits<int>::max() ? 0 : num_gathers_ + 1;
    std::vector<WorkPointer> exchanges;
    // Each rank begins with its neighbour, so that not all send to the same one first.
    for (int distance = 1; distance < getSize(); ++distance) {
      const int from = (getRank() + getSize() - distance) % getSize();
      std::vector<at::Tensor> received{parts[static_cast<size_t>(from)]};
      std::vector<at::Tensor> sent{input};
      exchanges.push_back(recv(received, from, num_gathers_));
      exchanges.push_back(send(sent, (getRank() + distance) % getSize(), num_gathers_));
    }
    const at::Tensor& own = parts[static_cast<size_t>(getRank())];
    if (own.data_ptr() != input.data_ptr()) own.copy_(input);
    return c10::make_intrusive<JoinedWork>(std::move(exchanges));
  }

 private:
  int num_gathers_ = 0;
};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    GroupPlace place,
                                                    std::chrono::milliseconds timeout,
                                                    const std::string& host) {
  const auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(host)};
  return c10::make_intrusive<DirectGloo>(store, static_cast<int>(place.index),
                                         static_cast<int>(place.size), options);
}

}  // namespace zoetrope
