// Pictures that ranks have made, brought together.
#pragma once

#include <vector>

#include "zoetrope/distributed/group.h"
#include "zoetrope/media/frame.h"

namespace zoetrope {

/// The frames of every rank, rank by rank. All must have as many of one size.
std::vector<std::vector<media::Frame>> gather_frames(Group& group,
                                                     const std::vector<media::Frame>& frames);

}  // namespace zoetrope
