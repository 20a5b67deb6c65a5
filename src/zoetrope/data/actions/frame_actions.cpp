#include "zoetrope/data/actions/frame_actions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace zoetrope {

int64_t FrameActions::num_frames() const {
  return keyboard_FK.defined() ? keyboard_FK.size(0) : mouse_F2.size(0);
}

std::string FrameActions::describe_controls() const {
  if (!keyboard_FK.defined()) return "a mouse alone";
  return fmt::format("{} keys and {} mouse", num_keys(), mouse_F2.defined() ? "a" : "no");
}

FrameActions FrameActions::rows(const std::vector<int64_t>& frames) const {
  const at::Tensor index = at::tensor(frames, at::kLong);
  FrameActions taken;
  if (keyboard_FK.defined()) taken.keyboard_FK = keyboard_FK.index_select(0, index);
  if (mouse_F2.defined()) taken.mouse_F2 = mouse_F2.index_select(0, index);
  return taken;
}

}  // namespace zoetrope
