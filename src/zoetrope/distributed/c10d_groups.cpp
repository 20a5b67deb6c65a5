#include "zoetrope/distributed/c10d_groups.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "zoetrope/distributed/device_backend.h"
#include "zoetrope/distributed/gloo_backend.h"

namespace zoetrope {

GroupFactory c10d_groups(const c10::intrusive_ptr<c10d::Store>& store,
                         std::chrono::milliseconds timeout, const std::string& host,
                         const ExplainFailure& explain, c10::Device device) {
  return [=](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
    const auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, store);
    const GroupPlace place{index, std::ssize(ranks)};
    const Group::Backends backends{make_gloo_backend(prefixed, place, timeout, host),
                                   make_device_backend(device, prefixed, place, timeout)};
    return std::make_shared<Group>(name, backends, ranks, index, explain);
  };
}

}  // namespace zoetrope
