#include "zoetrope/distributed/gloo_groups.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace zoetrope {

GroupFactory gloo_groups(const c10::intrusive_ptr<c10d::Store>& store,
                         std::chrono::milliseconds timeout, const std::string& host,
                         ExplainFailure explain) {
  return [=](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
    const auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(host)};
    const auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, store);
    auto backend = c10::make_intrusive<c10d::ProcessGroupGloo>(
        prefixed, static_cast<int>(index), static_cast<int>(ranks.size()), options);
    return std::make_shared<Group>(name, std::move(backend), ranks, index, explain);
  };
}

}  // namespace zoetrope
