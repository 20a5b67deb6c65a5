// Clips of the toy world of shapes as sources of preprocessing.
#pragma once

#include "zoetrope/data/preprocess/source_list.h"

namespace zoetrope {

/// Names the toy world where a folder or list of videos is expected.
inline constexpr const char* kShapesInput = "synthetic:shapes";

struct ShapesClips {
  int64_t num_clips = 0;
  int64_t num_frames = 0;
  int64_t height = 0;  ///< pixels
  int64_t width = 0;   ///< pixels
  int64_t seed = 0;
};

/// The subjects take turns. Throws ConfigError for frames that are too small.
std::vector<SourceEntry> list_shapes(const ShapesClips& clips);

}  // namespace zoetrope
