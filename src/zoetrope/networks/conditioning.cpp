#include "zoetrope/networks/conditioning.h"

#include <ATen/ATen.h>

namespace zoetrope {
int64_t Conditioning::num_rows() const {
  for (const auto& [name, member] : kConditions) {
    if ((this->*member).defined()) return (this->*member).size(0);
  }
  return 0;
}

Conditioning Conditioning::to(at::ScalarType dtype) const {
  Conditioning converted = *this;
  for (const auto& [name, member] : kConditions) {
    if ((this->*member).defined()) converted.*member = (this->*member).to(dtype);
  }
  return converted;
}

Conditioning concatenate_rows(const Conditioning& first, const Conditioning& second) {
  Conditioning rows;
  rows.first_frame = second.first_frame;
  for (const auto& [name, member] : kConditions) {
    const at::Tensor& above = (first.*member).defined() ? first.*member : second.*member;
    const at::Tensor& below = (second.*member).defined() ? second.*member : first.*member;
    if (above.defined()) rows.*member = at::cat({above.expand_as(below), below});
  }
  return rows;
}

}  // namespace zoetrope
