// The controls that a video was made with: one row of keys and one of mouse movement for each pixel
// frame. Legend: F pixel frames, K keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// fp32 on the CPU. A member that a game does not have is undefined; one of them is defined.
struct FrameActions {
  at::Tensor keyboard_FK;  ///< one column for each key, usually 1 where it is held
  at::Tensor mouse_F2;     ///< vertical and horizontal movement

  int64_t num_frames() const;
  int64_t num_keys() const { return keyboard_FK.defined() ? keyboard_FK.size(1) : 0; }
  /// `4 keys and a mouse`.
  std::string describe_controls() const;
  /// The rows of `frames`, in their order; a frame may come several times.
  FrameActions rows(const std::vector<int64_t>& frames) const;
};

}  // namespace zoetrope
