#include "zoetrope/data/preprocess/synthetic_sources.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace zoetrope {

std::vector<SourceEntry> list_shapes(const SyntheticClips& clips) {
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

FrameActions steering_actions(const SteeringClip& clip) {
  const at::Tensor keyboard_FK =
      at::zeros({std::ssize(clip.keys), std::ssize(kSteeringKeys)}, at::kFloat);
  auto held = keyboard_FK.accessor<float, 2>();
  for (size_t frame = 0; frame < clip.keys.size(); ++frame) {
    if (clip.keys[frame]) {
      held[static_cast<int64_t>(frame)][static_cast<int64_t>(*clip.keys[frame])] = 1.0F;
    }
  }
  return {keyboard_FK, {}};
}

std::vector<SourceEntry> list_steering(const SyntheticClips& clips) {
  const SteeringWorld world(clips.height, clips.width);
  std::vector<SourceEntry> sources;
  for (int64_t index = 0; index < clips.num_clips; ++index) {
    const SteeringClip clip = world.clip(clips.seed, index, clips.num_frames);
    SourceEntry source;
    source.id = fmt::format("steering_seed{}_{:06}", clips.seed, index);
    source.name = source.id;
    source.video = kSteeringInput;
    source.captions = {clip.caption()};
    source.render = [world, clip] { return world.render(clip); };
    source.actions = steering_actions(clip);
    sources.push_back(std::move(source));
  }
  return sources;
}

}  // namespace zoetrope
