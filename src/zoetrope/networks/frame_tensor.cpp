#include "zoetrope/networks/frame_tensor.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace zoetrope {

at::Tensor frame_to_tensor(const media::Frame& frame) {
  at::Tensor bytes_HWC = at::empty({frame.height, frame.width, 3}, at::kByte);
  std::ranges::copy(frame.rgb, bytes_HWC.mutable_data_ptr<uint8_t>());
  return bytes_HWC;
}

media::Frame tensor_to_frame(const at::Tensor& bytes_HWC) {
  TORCH_CHECK(
      bytes_HWC.dim() == 3 && bytes_HWC.size(2) == 3 && bytes_HWC.scalar_type() == at::kByte,
      "a picture must be uint8 [H, W, 3], but is ", bytes_HWC.sizes());
  const at::Tensor bytes = bytes_HWC.cpu().contiguous();
  media::Frame frame(static_cast<int>(bytes.size(1)), static_cast<int>(bytes.size(0)));
  std::copy_n(bytes.const_data_ptr<uint8_t>(), frame.rgb.size(), frame.rgb.begin());
  return frame;
}

at::Tensor vae_pixels(const at::Tensor& bytes_HWC) {
  return bytes_HWC.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat) / 127.5 - 1.0;
}

}  // namespace zoetrope
