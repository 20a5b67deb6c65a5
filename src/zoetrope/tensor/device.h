// Devices by name. What needs CUDA's own headers is in device_cuda.cpp, which the CPU build
// replaces by device_stub.cpp.
#pragma once

#include <cstdint>
#include <string>

#include <c10/core/Device.h>

namespace zoetrope {

/// `cpu`, `cuda` (the GPU of the process that is `local_rank` among those of this machine), or
/// `auto`: CUDA when the build and the machine have it. Throws ConfigError when CUDA is asked for
/// and cannot be had.
c10::Device resolve_device(const std::string& name, int64_t local_rank = 0);

/// GPUs that this process sees; 0 in a CPU build.
int num_cuda_devices();

/// Waits until the device has finished what was started; nothing to do on the CPU.
void synchronize(const c10::Device& device);

/// Memory that the device has; 0 for the CPU.
uint64_t device_memory_bytes(const c10::Device& device);

/// Most bytes of device memory in use at one time since the start; 0 on the CPU.
uint64_t peak_device_bytes(const c10::Device& device);

}  // namespace zoetrope
