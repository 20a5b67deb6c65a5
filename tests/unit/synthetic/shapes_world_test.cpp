// The toy world's physics and pictures, against what can be said without its code.
#include "zoetrope/synthetic/shapes_world.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(ShapesWorld, SubjectsHaveFortyEightCaptions) {
  std::set<std::string> captions;
  for (const ShapesSubject& subject : all_shapes_subjects()) captions.insert(subject.caption());
  EXPECT_EQ(captions.size(), 48U);
  EXPECT_TRUE(captions.contains("a red square moving left"));
  EXPECT_TRUE(captions.contains("a white triangle moving down"));
}

TEST(ShapesWorld, ShapesMoveAtOneSpeedAndStayInside) {
  const ShapesWorld world(48, 64);
  const double margin = 1.4 * world.radius();
  for (const ShapesSubject& subject : all_shapes_subjects()) {
    const Point velocity = kShapeDirections[subject.direction].velocity;
    const auto path = world.path(world.start(subject, 3, 17), velocity, 200);
    for (size_t frame = 1; frame < path.size(); ++frame) {
      const double moved_x = std::abs(path[frame].x - path[frame - 1].x);
      const double moved_y = std::abs(path[frame].y - path[frame - 1].y);
      EXPECT_LE(moved_x, std::abs(velocity.x) + 1e-9);  // less where it bounces within a frame
      EXPECT_LE(moved_y, std::abs(velocity.y) + 1e-9);
      EXPECT_GE(path[frame].x, margin - 1e-9);
      EXPECT_LE(path[frame].x, 64.0 - margin + 1e-9);
      EXPECT_GE(path[frame].y, margin - 1e-9);
      EXPECT_LE(path[frame].y, 48.0 - margin + 1e-9);
    }
    const Point straight_end = path[ShapesWorld::kNumStraightFrames - 1];
    EXPECT_NEAR(straight_end.x - path[0].x, 4.0 * velocity.x, 1e-9) << subject.caption();
    EXPECT_NEAR(straight_end.y - path[0].y, 4.0 * velocity.y, 1e-9) << subject.caption();
  }
}

TEST(ShapesWorld, BouncesOffTheWall) {
  const ShapesWorld world(40, 40);
  const double margin = 1.4 * world.radius();
  const auto path = world.path({margin + 5.0, 20.0}, {-2.0, 0.0}, 6);
  EXPECT_NEAR(path[2].x, margin + 1.0, 1e-9);
  EXPECT_NEAR(path[3].x, margin + 1.0, 1e-9);
  EXPECT_NEAR(path[5].x, margin + 5.0, 1e-9);
}

TEST(ShapesWorld, ShapesHaveTheSameAreaAndTheirCentreOfMass) {
  const ShapesWorld world(48, 48);
  for (size_t shape = 0; shape < kShapeNames.size(); ++shape) {
    const auto coverage = world.coverage(shape, {20.3, 26.7});
    double area = 0.0;
    double x = 0.0;
    double y = 0.0;
    for (size_t row = 0; row < 48; ++row) {
      for (size_t column = 0; column < 48; ++column) {
        const double covered = coverage[row * 48 + column];
        area += covered;
        x += covered * (static_cast<double>(column) + 0.5);
        y += covered * (static_cast<double>(row) + 0.5);
      }
    }
    EXPECT_NEAR(area, 14.0 * 14.0, 3.0) << kShapeNames[shape];
    EXPECT_NEAR(x / area, 20.3, 0.06) << kShapeNames[shape];
    EXPECT_NEAR(y / area, 26.7, 0.06) << kShapeNames[shape];
  }
}

TEST(ShapesWorld, StartsDependOnSeedAndIndexAlone) {
  const ShapesWorld world(48, 48);
  const ShapesSubject subject;
  EXPECT_EQ(world.start(subject, 1, 5).x, world.start(subject, 1, 5).x);
  EXPECT_NE(world.start(subject, 1, 5).x, world.start(subject, 2, 5).x);
  EXPECT_NE(world.start(subject, 1, 5).x, world.start(subject, 1, 6).x);
  EXPECT_NE(world.start(subject, 1, 5).x, world.start(subject, 1, 5).y);
}

TEST(ShapesWorld, TooSmallFramesAreRefused) {
  EXPECT_THAT([] { ShapesWorld(8, 48); },
              ThrowsMessage<ConfigError>(HasSubstr("must be at least")));
}

}  // namespace
}  // namespace zoetrope
