// Clips of the toy worlds as sources of preprocessing.
#pragma once

#include "zoetrope/data/actions/frame_actions.h"
#include "zoetrope/data/preprocess/source_list.h"
#include "zoetrope/synthetic/steering_world.h"

namespace zoetrope {

// Name a toy world where a folder or list of videos is expected.
inline constexpr const char* kShapesInput = "synthetic:shapes";
inline constexpr const char* kSteeringInput = "synthetic:steering";

struct SyntheticClips {
  int64_t num_clips = 0;
  int64_t num_frames = 0;
  int64_t height = 0;  ///< pixels
  int64_t width = 0;   ///< pixels
  int64_t seed = 0;
};

/// Clips of ShapesWorld; the subjects take turns. Throws ConfigError for frames that are too small.
std::vector<SourceEntry> list_shapes(const SyntheticClips& clips);

/// Clips of SteeringWorld with their actions. Throws as list_shapes().
std::vector<SourceEntry> list_steering(const SyntheticClips& clips);

/// The keys of a clip of SteeringWorld: one column for each, 1 where it is held.
FrameActions steering_actions(const SteeringClip& clip);

}  // namespace zoetrope
