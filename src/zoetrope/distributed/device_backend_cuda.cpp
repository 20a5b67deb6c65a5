#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "zoetrope/distributed/device_backend.h"

namespace zoetrope {

c10::intrusive_ptr<c10d::Backend> make_device_backend(c10::Device device,
                                                      const c10::intrusive_ptr<c10d::Store>& store,
                                                      GroupPlace place,
                                                      std::chrono::milliseconds timeout) {
  if (device.is_cpu()) return {};
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, static_cast<int>(place.index),
                                                     static_cast<int>(place.size), options);
}

}  // namespace zoetrope
