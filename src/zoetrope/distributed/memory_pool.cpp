#include "zoetrope/distributed/memory_pool.h"

#include <ATen/ATen.h>

namespace zoetrope {

void MemoryPool::attach(const at::Tensor& tensor) {
  const auto num_bytes = static_cast<size_t>(tensor.numel()) * tensor.element_size();
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  TORCH_INTERNAL_ASSERT(storage->nbytes() == 0, "the tensor must have no memory yet");
  std::vector<c10::DataPtr>& free = free_[num_bytes];
  if (free.empty()) {
    storage->set_data_ptr_noswap(c10::GetAllocator(tensor.device().type())->allocate(num_bytes));
  } else {
    storage->set_data_ptr_noswap(std::move(free.back()));
    free.pop_back();
  }
  storage->set_nbytes(num_bytes);
}

void MemoryPool::detach(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  const size_t num_bytes = storage->nbytes();
  free_[num_bytes].push_back(storage->set_data_ptr(c10::DataPtr(nullptr, tensor.device())));
  storage->set_nbytes(0);
}

at::Tensor untracked(const at::Tensor& tensor) {
  at::Tensor alias = at::empty({0}, tensor.options().requires_grad(false));
  alias.set_(tensor.storage(), tensor.storage_offset(), tensor.sizes(), tensor.strides());
  return alias;
}

}  // namespace zoetrope
