#include "zoetrope/data/preprocess/shapes_sources.h"

#include <fmt/format.h>

#include "zoetrope/synthetic/shapes_world.h"

namespace zoetrope {

std::vector<SourceEntry> list_shapes(const ShapesClips& clips) {
  const ShapesWorld world(clips.height, clips.width);
  const std::vector<ShapesSubject> subjects = all_shapes_subjects();
  std::vector<SourceEntry> sources;
  for (int64_t index = 0; index < clips.num_clips; ++index) {
    const ShapesSubject subject = subjects[static_cast<size_t>(index) % subjects.size()];
    SourceEntry source;
    source.id = fmt::format("shapes_seed{}_{:06}", clips.seed, index);
    source.name = source.id;
    source.video = kShapesInput;
    source.captions = {subject.caption()};
    source.render = [world, subject, clips, index] {
      const Point velocity = kShapeDirections[subject.direction].velocity;
      return world.render(
          subject, world.path(world.start(subject, clips.seed, index), velocity, clips.num_frames));
    };
    sources.push_back(std::move(source));
  }
  return sources;
}

}  // namespace zoetrope
