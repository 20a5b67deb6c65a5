// Memory for buffers that come and go at every use of a network's blocks: what is returned is given
// to the next one of the same size, so that the allocator is not asked in every step.
#pragma once

#include <map>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

class MemoryPool {
 public:
  /// Gives `tensor` (contiguous, of its own storage, without memory) memory for its elements; what
  /// they are is undefined.
  void attach(const at::Tensor& tensor);
  /// Takes the memory back. On a GPU the current stream must have been told all uses of it.
  void detach(const at::Tensor& tensor);

 private:
  std::map<size_t, std::vector<c10::DataPtr>> free_;  ///< by bytes
};

/// The same memory as a tensor that autograd knows nothing of, so that writing to it does not count
/// as a change of what was saved for a backward pass.
at::Tensor untracked(const at::Tensor& tensor);

}  // namespace zoetrope
