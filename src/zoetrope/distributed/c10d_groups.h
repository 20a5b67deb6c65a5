// Groups over c10d's backends: Gloo, which connects processes through sockets, for tensors of the
// CPU, and on GPUs NCCL beside it.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include "zoetrope/distributed/mesh.h"

namespace c10d {
class Store;
}

namespace zoetrope {

/// Makes groups whose ranks meet in `store` and connect at this machine's address `host`; tensors
/// of `device` travel without passing through the CPU. A collective that waits longer than
/// `timeout` fails, and `explain` says why.
GroupFactory c10d_groups(const c10::intrusive_ptr<c10d::Store>& store,
                         std::chrono::milliseconds timeout, const std::string& host,
                         const ExplainFailure& explain = {}, c10::Device device = c10::kCPU);

}  // namespace zoetrope
