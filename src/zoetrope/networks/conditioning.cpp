#include "zoetrope/networks/conditioning.h"

#include <array>

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

constexpr std::array kMembers = {
    &Conditioning::text_embedding_BLD,  &Conditioning::text_attention_mask_BL,
    &Conditioning::image_embedding_BLD, &Conditioning::image_latents_BTCHW,
    &Conditioning::keyboard_BFK,        &Conditioning::mouse_BF2};

}  // namespace

int64_t Conditioning::num_rows() const {
  for (const auto member : kMembers) {
    if ((this->*member).defined()) return (this->*member).size(0);
  }
  return 0;
}

Conditioning Conditioning::to(at::ScalarType dtype) const {
  Conditioning converted = *this;
  for (const auto member : kMembers) {
    if ((this->*member).defined()) converted.*member = (this->*member).to(dtype);
  }
  return converted;
}

Conditioning concatenate_rows(const Conditioning& first, const Conditioning& second) {
  Conditioning rows;
  rows.first_frame = second.first_frame;
  for (const auto member : kMembers) {
    const at::Tensor& above = (first.*member).defined() ? first.*member : second.*member;
    const at::Tensor& below = (second.*member).defined() ? second.*member : first.*member;
    if (above.defined()) rows.*member = at::cat({above.expand_as(below), below});
  }
  return rows;
}

}  // namespace zoetrope
