// The backend for tensors of the CPU: Gloo, with an all-gather that receives each part in its place
// (Gloo's own collects in a buffer of the output's size and copies from there).
#pragma once

#include <chrono>
#include <string>

#include <c10/util/intrusive_ptr.h>

#include "zoetrope/distributed/device_backend.h"

namespace zoetrope {

/// All ranks of the group must call it. Listens on the interface of `host` alone.
c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    GroupPlace place,
                                                    std::chrono::milliseconds timeout,
                                                    const std::string& host);

}  // namespace zoetrope
