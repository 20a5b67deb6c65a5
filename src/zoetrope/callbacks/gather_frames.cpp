#include "zoetrope/callbacks/gather_frames.h"

#include <ATen/ATen.h>

namespace zoetrope {

std::vector<std::vector<media::Frame>> gather_frames(Group& group,
                                                     const std::vector<media::Frame>& frames) {
  if (group.size() == 1) return {frames};
  std::vector<at::Tensor> pictures;
  pictures.reserve(frames.size());
  for (const media::Frame& frame : frames)
    pictures.push_back(at::tensor(at::ArrayRef<uint8_t>(frame.rgb), at::kByte));
  const at::Tensor own = at::cat(pictures);
  const at::Tensor all = at::empty({group.size() * own.numel()}, at::kByte);
  group.all_gather(own, all).wait();
  const uint8_t* next = all.const_data_ptr<uint8_t>();
  std::vector<std::vector<media::Frame>> by_rank;
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    by_rank.push_back(frames);
    for (media::Frame& frame : by_rank.back()) {
      std::copy_n(next, frame.rgb.size(), frame.rgb.begin());
      next += frame.rgb.size();
    }
  }
  return by_rank;
}

}  // namespace zoetrope
