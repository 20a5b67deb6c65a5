#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>

#include "zoetrope/tensor/device.h"

namespace zoetrope {

int num_cuda_devices() {
  return c10::cuda::device_count();
}

void synchronize(const c10::Device& device) {
  if (device.is_cuda()) c10::cuda::device_synchronize();
}

uint64_t device_memory_bytes(const c10::Device& device) {
  if (!device.is_cuda()) return 0;
  return c10::cuda::CUDACachingAllocator::get()->getMemoryInfo(device.index()).second;
}

uint64_t peak_device_bytes(const c10::Device& device) {
  if (!device.is_cuda()) return 0;
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
  return static_cast<uint64_t>(stats.allocated_bytes[0].peak);
}

}  // namespace zoetrope
