// Metrics of videos whose faults are known.
#include "zoetrope/synthetic/shapes_metrics.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::Lt;
using testing::ThrowsMessage;

const ShapesWorld kWorld(48, 48);

std::vector<media::Frame> true_clip(const ShapesSubject& subject, int64_t index,
                                    int64_t num_frames = 33) {
  const Point velocity = kShapeDirections[subject.direction].velocity;
  return kWorld.render(subject, kWorld.path(kWorld.start(subject, 0, index), velocity, num_frames));
}

TEST(ShapesMetrics, TrueClipsAreRightInAll) {
  ShapesScorer scorer(kWorld);
  int64_t index = 0;
  for (const ShapesSubject& subject : all_shapes_subjects()) {
    scorer.add(subject, true_clip(subject, index++));
  }
  const ShapesScores scores = scorer.scores();
  EXPECT_EQ(scores.num_videos, 48);
  EXPECT_EQ(scores.color_accuracy, 1.0);
  EXPECT_EQ(scores.shape_accuracy, 1.0);
  EXPECT_EQ(scores.direction_accuracy, 1.0);
  EXPECT_EQ(scores.visible, 1.0);
  EXPECT_GT(scores.shape_overlap, 0.95);
  EXPECT_THAT(scores.trajectory_error, Each(Lt(0.2)));
  EXPECT_FALSE(scores.diversity.has_value());
}

TEST(ShapesMetrics, WrongSubjectsCountOnceForEachWrongProperty) {
  ShapesScorer scorer(kWorld);
  const ShapesSubject shown{1, 2, 3};
  scorer.add({0, 2, 3}, true_clip(shown, 0));
  scorer.add({1, 0, 3}, true_clip(shown, 1));
  scorer.add({1, 2, 0}, true_clip(shown, 2));
  scorer.add(shown, true_clip(shown, 3));
  const ShapesScores scores = scorer.scores();
  EXPECT_EQ(scores.color_accuracy, 0.75);
  EXPECT_EQ(scores.shape_accuracy, 0.75);
  EXPECT_EQ(scores.direction_accuracy, 0.75);
  EXPECT_LT(scores.shape_overlap, 0.95);  // one square over a triangle
}

TEST(ShapesMetrics, EmptyFramesShowNothing) {
  const std::vector<media::Frame> black(33, media::Frame(48, 48));
  const ShapesObservation seen = observe_shapes(kWorld, black);
  EXPECT_FALSE(seen.color || seen.shape || seen.direction);
  EXPECT_THAT(trajectory_errors(kWorld, seen), Each(testing::DoubleNear(48.0 * 1.41421 / 4, 1e-3)));
  std::vector<media::Frame> bright(33, media::Frame(48, 48));
  for (media::Frame& frame : bright) std::ranges::fill(frame.rgb, uint8_t{255});
  EXPECT_FALSE(observe_shapes(kWorld, bright).color.has_value());
}

TEST(ShapesMetrics, AStillShapeHasNoDirectionAndItsPathIsWrong) {
  const ShapesSubject subject{0, 0, 1};
  const std::vector<media::Frame> still(33, true_clip(subject, 0).front());
  const ShapesObservation seen = observe_shapes(kWorld, still);
  EXPECT_EQ(seen.color, 0U);
  EXPECT_FALSE(seen.direction.has_value());
}

TEST(ShapesMetrics, AShapeThatStopsDriftsFromPhysicsPixelByPixel) {
  const ShapesSubject subject{2, 1, 1};
  const auto path = kWorld.path({14.0, 20.0}, {2.0, 0.0}, 9);
  std::vector<media::Frame> frames = kWorld.render(subject, path);
  frames.insert(frames.end(), 5, frames.back());
  const auto errors = trajectory_errors(kWorld, observe_shapes(kWorld, frames));
  for (size_t frame = 0; frame < 9; ++frame) EXPECT_LT(errors[frame], 0.1);
  for (size_t frame = 9; frame < 11; ++frame) {
    EXPECT_NEAR(errors[frame], 2.0 * (static_cast<double>(frame) - 8.0), 0.1);
  }
}

TEST(ShapesMetrics, DiversityIsTheDistanceOfStarts) {
  const ShapesSubject subject{0, 0, 3};
  ShapesScorer scorer(kWorld);
  for (const double x : {15.0, 18.0, 21.0}) {
    scorer.add(subject, kWorld.render(subject, kWorld.path({x, 14.0}, {0.0, 2.0}, 9)));
  }
  scorer.add({1, 0, 3}, true_clip({1, 0, 3}, 0, 9));  // another caption: no pair with the others
  EXPECT_NEAR(scorer.scores().diversity.value(), 4.0, 0.1);
}

TEST(ShapesMetrics, OtherSizesAndLengthsAreRefused) {
  EXPECT_THAT([] { observe_shapes(kWorld, {media::Frame(64, 48)}); },
              ThrowsMessage<DataError>(HasSubstr("must be 48 x 48 pixels, but one is 48 x 64")));
  ShapesScorer scorer(kWorld);
  scorer.add({}, true_clip({}, 0, 9));
  EXPECT_THAT([&] { scorer.add({}, true_clip({}, 0, 13)); },
              ThrowsMessage<DataError>(HasSubstr("must have 9 frames, but one has 13")));
}

}  // namespace
}  // namespace zoetrope
