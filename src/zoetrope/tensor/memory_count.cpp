#include "zoetrope/tensor/memory_count.h"

#include <atomic>
#include <memory>

#include <c10/core/CPUAllocator.h>
#include <malloc.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/device.h"

namespace zoetrope {
namespace {

/// LibTorch's own allocator, whose memory is malloc's, counted as it comes and goes. A deleter gets
/// nothing but the memory's address, so that there is one such counter in a process.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* allocator) : allocator_(allocator) {
    free_ = allocator->raw_deleter();
  }

  c10::DataPtr allocate(size_t num_bytes) override {
    c10::DataPtr memory = allocator_->allocate(num_bytes);
    if (memory.get() == nullptr) return memory;
    if (!memory.compare_exchange_deleter(free_, &release))
      fail("memory count: LibTorch's allocator must free all memory alike, but does not");
    const uint64_t taken = malloc_usable_size(memory.get());
    const uint64_t in_use = in_use_.fetch_add(taken) + taken;
    uint64_t peak = peak_.load();
    while (peak < in_use && !peak_.compare_exchange_weak(peak, in_use)) {
    }
    return memory;
  }

  void copy_data(void* destination, const void* source, size_t num_bytes) const override {
    allocator_->copy_data(destination, source, num_bytes);
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  static uint64_t in_use() { return in_use_.load(); }
  static uint64_t peak() { return peak_.load(); }

 private:
  static void release(void* memory) {
    if (memory != nullptr) in_use_.fetch_sub(malloc_usable_size(memory));
    free_(memory);
  }

  c10::Allocator* allocator_;
  static inline c10::DeleterFnPtr free_ = nullptr;
  static inline std::atomic<uint64_t> in_use_ = 0;
  static inline std::atomic<uint64_t> peak_ = 0;
};

}  // namespace

void count_cpu_memory() {
  if (dynamic_cast<CountingAllocator*>(c10::GetCPUAllocator()) != nullptr) return;
  // LibTorch's registry of allocators is the process's, and tensors may outlive everything else.
  c10::SetCPUAllocator(std::make_unique<CountingAllocator>(c10::GetCPUAllocator()).release());
}

uint64_t cpu_tensor_bytes() {
  return CountingAllocator::in_use();
}

uint64_t peak_tensor_bytes(const c10::Device& device) {
  return device.is_cpu() ? CountingAllocator::peak() : peak_device_bytes(device);
}

}  // namespace zoetrope
