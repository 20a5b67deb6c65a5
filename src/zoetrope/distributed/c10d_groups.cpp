#include "zoetrope/distributed/c10d_groups.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "zoetrope/distributed/device_backend.h"

namespace zoetrope {

GroupFactory c10d_groups(const c10::intrusive_ptr<c10d::Store>& store,
                         std::chrono::milliseconds timeout, const std::string& host,
                         ExplainFailure explain, c10::Device device) {
  return [=](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
    const auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(host)};
    const auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, store);
    const auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
        prefixed, static_cast<int>(index), static_cast<int>(ranks.size()), options);
    const Group::Backends backends{
        gloo, make_device_backend(device, prefixed, {index, std::ssize(ranks)}, timeout)};
    return std::make_shared<Group>(name, backends, ranks, index, explain);
  };
}

}  // namespace zoetrope
