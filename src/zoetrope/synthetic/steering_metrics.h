// Whether a video of the steering world obeys the keys that it was made with, step by step, and
// whether the shape stays what it was. A step is judged where the truth can be told: no key is
// held, or the key's wall is at least one full step away from where the shape is seen.
#pragma once

#include "zoetrope/synthetic/shapes_metrics.h"
#include "zoetrope/synthetic/steering_world.h"

namespace zoetrope {

/// Steps that could be judged, and those among them that did as the key said.
struct ObeyedSteps {
  int64_t num_judged = 0;
  int64_t num_obeyed = 0;

  ObeyedSteps operator+(const ObeyedSteps& other) const;
  double share() const;  ///< 0 without judged steps
};

/// The key that moves a shape so: the nearest direction, or none for less than a quarter of a step.
HeldKey shown_key(Point travel);

/// Step f leads from frame f to f + 1 and is judged by keys[f]: one entry for each but the last
/// frame. A shape that is seen in only one of the two frames, or in none, does not obey.
std::vector<ObeyedSteps> judge_steps(const SteeringWorld& world, const std::vector<HeldKey>& keys,
                                     const std::vector<std::optional<Point>>& path);

/// Sums over videos; shares and means are from 0 to 1 or in pixels.
struct SteeringScores {
  int64_t num_videos = 0;
  double color_accuracy = 0.0;  ///< videos that show the first frame's colour
  double shape_accuracy = 0.0;
  double shape_overlap = 0.0;       ///< with the first frame's shape; tells sharp from smeared
  double visible = 0.0;             ///< frames that show a shape
  std::vector<ObeyedSteps> obeyed;  ///< by step
  std::vector<ObeyedSteps> obeyed_shuffled;  ///< judged by the keys of another video: chance
  /// By frame: pixels from where the keys lead from the first frame on; errors of steps add up.
  std::vector<double> position_error;
};

class SteeringScorer {
 public:
  explicit SteeringScorer(SteeringWorld world) : world_(world) {}
  /// A video that was to show `clip`. All must have the clip's number of frames, and the same.
  void add(const SteeringClip& clip, const std::vector<media::Frame>& frames);
  SteeringScores scores() const;

 private:
  struct Seen {
    SteeringClip clip;
    ShapesObservation observation;
  };

  SteeringWorld world_;
  std::vector<Seen> videos_;
};

}  // namespace zoetrope
