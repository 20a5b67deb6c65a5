// The part of a clip's conditions that belongs to some of its frames: what a network is given that
// sees these frames alone, as a clip of their own.
#pragma once

#include <cstdint>

#include "zoetrope/networks/conditioning.h"

namespace zoetrope {

/// The conditions of latent frames [first, first + num_frames): text and image embedding as they
/// are, given frames by latent frame, actions by the pixel frames of those (4 (num_frames - 1) + 1
/// rows from pixel frame 4 first). Views; a member that is undefined stays so.
Conditioning frames_of(const Conditioning& clip, int64_t first, int64_t num_frames);

}  // namespace zoetrope
