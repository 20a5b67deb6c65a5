// How much memory tensors take: on a GPU the allocator knows, on the CPU its allocations are
// counted once that has been asked for. Of the whole process.
#pragma once

#include <cstdint>

#include <c10/core/Device.h>

namespace zoetrope {

/// Counts the memory of CPU tensors that are made from now on; again does nothing. Costs a small
/// allocation for each one that a tensor makes.
void count_cpu_memory();

/// Bytes that CPU tensors have at the moment, of those made since count_cpu_memory().
uint64_t cpu_tensor_bytes();

/// Most bytes that tensors on `device` had at one time; 0 on the CPU before count_cpu_memory().
uint64_t peak_tensor_bytes(const c10::Device& device);

}  // namespace zoetrope
