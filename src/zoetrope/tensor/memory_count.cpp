#include "zoetrope/tensor/memory_count.h"

#include <atomic>
#include <memory>

#include <c10/core/CPUAllocator.h>
#include <malloc.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/device.h"

namespace zoetrope {
namespace {

/// A deleter gets nothing but the memory's address, so that there is one such count in a process.
struct MemoryCount {
  c10::DeleterFnPtr free = nullptr;
  std::atomic<uint64_t> in_use = 0;
  std::atomic<uint64_t> peak = 0;
};

MemoryCount& memory_count() {
  static MemoryCount count;
  return count;
}

/// LibTorch's own allocator, whose memory is malloc's, counted as it comes and goes.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* allocator) : allocator_(allocator) {
    memory_count().free = allocator->raw_deleter();
  }

  c10::DataPtr allocate(size_t num_bytes) override {
    c10::DataPtr memory = allocator_->allocate(num_bytes);
    if (memory.get() == nullptr) return memory;
    MemoryCount& count = memory_count();
    if (!memory.compare_exchange_deleter(count.free, &release))
      fail("memory count: LibTorch's allocator must free all memory alike, but does not");
    const uint64_t taken = malloc_usable_size(memory.get());
    const uint64_t in_use = count.in_use.fetch_add(taken) + taken;
    uint64_t peak = count.peak.load();
    while (peak < in_use && !count.peak.compare_exchange_weak(peak, in_use)) {
    }
    return memory;
  }

  void copy_data(void* destination, const void* source, size_t num_bytes) const override {
    allocator_->copy_data(destination, source, num_bytes);
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

 private:
  static void release(void* memory) {
    MemoryCount& count = memory_count();
    if (memory != nullptr) count.in_use.fetch_sub(malloc_usable_size(memory));
    count.free(memory);
  }

  c10::Allocator* allocator_;
};

}  // namespace

void count_cpu_memory() {
  if (dynamic_cast<CountingAllocator*>(c10::GetCPUAllocator()) != nullptr) return;
  // LibTorch's registry of allocators is the process's, and tensors may outlive everything else.
  c10::SetCPUAllocator(std::make_unique<CountingAllocator>(c10::GetCPUAllocator()).release());
}

uint64_t cpu_tensor_bytes() {
  return memory_count().in_use.load();
}

uint64_t peak_tensor_bytes(const c10::Device& device) {
  return device.is_cpu() ? memory_count().peak.load() : peak_device_bytes(device);
}

}  // namespace zoetrope
