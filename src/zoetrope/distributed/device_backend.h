// The backend that carries tensors of a GPU between ranks (NCCL). What needs CUDA's headers is in
// device_backend_cuda.cpp, which the CPU build replaces by device_backend_stub.cpp.
#pragma once

#include <chrono>
#include <cstdint>

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace zoetrope {

/// A member of a group to be.
struct GroupPlace {
  int64_t index = 0;
  int64_t size = 1;
};

/// Null for the CPU. The ranks meet in `store`.
c10::intrusive_ptr<c10d::Backend> make_device_backend(c10::Device device,
                                                      const c10::intrusive_ptr<c10d::Store>& store,
                                                      GroupPlace place,
                                                      std::chrono::milliseconds timeout);

}  // namespace zoetrope
