#include "zoetrope/checkpoint/weights_checksum.h"

#include <ATen/ATen.h>

#include "zoetrope/checkpoint/dcp/file_checksum.h"

namespace zoetrope {

std::string weights_checksum(const NamedTensors& weights) {
  Checksum checksum;
  for (const auto& [name, tensor] : weights) {
    const std::string described = name + format_shape(tensor.sizes());
    checksum.add(described.data(), described.size());
    const at::Tensor values = tensor.detach().to(at::kBFloat16).to(at::kCPU).contiguous();
    checksum.add(values.const_data_ptr(), values.nbytes());
  }
  return checksum.digits();
}

}  // namespace zoetrope
