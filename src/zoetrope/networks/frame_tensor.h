// Between pictures and tensors. Legend: H, W height and width in pixels.
#pragma once

#include <ATen/core/Tensor.h>

#include "zoetrope/media/frame.h"

namespace zoetrope {

/// uint8 [H, W, 3] on the CPU, a copy.
at::Tensor frame_to_tensor(const media::Frame& frame);

/// The picture of uint8 [H, W, 3] on any device.
media::Frame tensor_to_frame(const at::Tensor& bytes_HWC);

/// fp32 [1, 3, H, W] in [-1, 1], as the VAE takes pixels, on the device of uint8 [H, W, 3].
at::Tensor vae_pixels(const at::Tensor& bytes_HWC);

}  // namespace zoetrope
