#include "zoetrope/tensor/memory_count.h"

#include <atomic>
#include <memory>

#include <c10/core/CPUAllocator.h>

#include "zoetrope/tensor/device.h"

namespace zoetrope {
namespace {

class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* allocator) : allocator_(allocator) {}

  c10::DataPtr allocate(size_t num_bytes) override {
    auto counted =
        std::make_unique<Counted>(Counted{this, num_bytes, allocator_->allocate(num_bytes)});
    const uint64_t in_use = in_use_.fetch_add(num_bytes) + num_bytes;
    uint64_t peak = peak_.load();
    while (peak < in_use && !peak_.compare_exchange_weak(peak, in_use)) {
    }
    void* data = counted->memory.get();
    return {data, counted.release(), &release, c10::Device(c10::kCPU)};
  }

  void copy_data(void* destination, const void* source, size_t num_bytes) const override {
    allocator_->copy_data(destination, source, num_bytes);
  }

  uint64_t in_use() const { return in_use_.load(); }
  uint64_t peak() const { return peak_.load(); }

 private:
  struct Counted {
    CountingAllocator* counter;
    size_t num_bytes;
    c10::DataPtr memory;
  };

  static void release(void* context) {
    const std::unique_ptr<Counted> counted(static_cast<Counted*>(context));
    counted->counter->in_use_.fetch_sub(counted->num_bytes);
  }

  c10::Allocator* allocator_;
  std::atomic<uint64_t> in_use_ = 0;
  std::atomic<uint64_t> peak_ = 0;
};

}  // namespace

void count_cpu_memory() {
  if (dynamic_cast<CountingAllocator*>(c10::GetCPUAllocator()) != nullptr) return;
  // LibTorch's registry of allocators is the process's, and tensors may outlive everything else.
  c10::SetCPUAllocator(std::make_unique<CountingAllocator>(c10::GetCPUAllocator()).release());
}

uint64_t cpu_tensor_bytes() {
  const auto* counting = dynamic_cast<CountingAllocator*>(c10::GetCPUAllocator());
  return counting != nullptr ? counting->in_use() : 0;
}

uint64_t peak_tensor_bytes(const c10::Device& device) {
  if (!device.is_cpu()) return peak_device_bytes(device);
  const auto* counting = dynamic_cast<CountingAllocator*>(c10::GetCPUAllocator());
  return counting != nullptr ? counting->peak() : 0;
}

}  // namespace zoetrope
