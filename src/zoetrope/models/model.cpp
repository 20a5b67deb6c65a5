#include "zoetrope/models/model.h"

#include <ATen/ATen.h>

namespace zoetrope {

void ModelBase::backward(const at::Tensor& loss, int64_t num_accumulation_rounds) {
  (loss / static_cast<double>(num_accumulation_rounds)).backward();
}

}  // namespace zoetrope
