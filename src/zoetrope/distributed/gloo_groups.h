// Groups over Gloo, which connects the processes of a run through sockets on CPUs.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <c10/util/intrusive_ptr.h>

#include "zoetrope/distributed/mesh.h"

namespace c10d {
class Store;
}

namespace zoetrope {

/// Makes groups whose ranks meet in `store` and connect at this machine's address `host`. A
/// collective that waits longer than `timeout` fails, and `explain` says why.
GroupFactory gloo_groups(const c10::intrusive_ptr<c10d::Store>& store,
                         std::chrono::milliseconds timeout, const std::string& host,
                         ExplainFailure explain = {});

}  // namespace zoetrope
