#include "zoetrope/tensor/device.h"

namespace zoetrope {

int num_cuda_devices() {
  return 0;
}

void synchronize(const c10::Device& /*device*/) {}

uint64_t device_memory_bytes(const c10::Device& /*device*/) {
  return 0;
}

uint64_t peak_device_bytes(const c10::Device& /*device*/) {
  return 0;
}

}  // namespace zoetrope
