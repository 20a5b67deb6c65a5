#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "zoetrope/distributed/device_backend.h"

namespace zoetrope {

c10::intrusive_ptr<c10d::Backend> make_device_backend(
    c10::Device device, const c10::intrusive_ptr<c10d::Store>& /*store*/, GroupPlace /*place*/,
    std::chrono::milliseconds /*timeout*/) {
  TORCH_CHECK(device.is_cpu(), "groups: a build without CUDA must be used on the CPU, but got ",
              device);
  return {};
}

}  // namespace zoetrope
