// The steering world's physics, against what can be said without its code.
#include "zoetrope/synthetic/steering_world.h"

#include <array>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

namespace zoetrope {
namespace {

const SteeringWorld kSteeringWorld(48, 48);

TEST(SteeringWorld, AKeyMovesTheShapeFromItsFrameToTheNext) {
  const std::vector<HeldKey> keys = {{}, 3, 3, {}, 0, 2, 1, 1};  // up, down, left, right: 0 to 3
  const auto path = kSteeringWorld.path({24.0, 24.0}, keys);
  const std::array<Point, 8> expected = {{{24.0, 24.0},
                                          {24.0, 24.0},
                                          {26.0, 24.0},
                                          {28.0, 24.0},
                                          {28.0, 24.0},
                                          {28.0, 22.0},
                                          {26.0, 22.0},
                                          {26.0, 24.0}}};
  ASSERT_EQ(path.size(), expected.size());
  for (size_t frame = 0; frame < path.size(); ++frame) {
    EXPECT_DOUBLE_EQ(path[frame].x, expected[frame].x) << frame;
    EXPECT_DOUBLE_EQ(path[frame].y, expected[frame].y) << frame;
  }
}

TEST(SteeringWorld, WallsStopTheShape) {
  const double margin = kSteeringWorld.shapes().margin();
  const auto path = kSteeringWorld.path({margin + 3.0, 24.0}, {2, 2, 2, 3, {}});
  EXPECT_DOUBLE_EQ(path[1].x, margin + 1.0);
  EXPECT_DOUBLE_EQ(path[2].x, margin);
  EXPECT_DOUBLE_EQ(path[3].x, margin);
  EXPECT_DOUBLE_EQ(path[4].x, margin + 2.0);
}

TEST(SteeringWorld, RoomIsTheDistanceToTheKeysWall) {
  const SteeringWorld world(48, 64);
  const double margin = world.shapes().margin();
  const Point center{20.0, 17.0};
  EXPECT_DOUBLE_EQ(world.room(center, 2), 20.0 - margin);
  EXPECT_DOUBLE_EQ(world.room(center, 3), 64.0 - margin - 20.0);
  EXPECT_DOUBLE_EQ(world.room(center, 0), 17.0 - margin);
  EXPECT_DOUBLE_EQ(world.room(center, 1), 48.0 - margin - 17.0);
}

TEST(SteeringWorld, ClipsDependOnSeedAndIndexAlone) {
  const SteeringClip clip = kSteeringWorld.clip(1, 5, 33);
  EXPECT_EQ(clip.keys, kSteeringWorld.clip(1, 5, 33).keys);
  EXPECT_NE(clip.keys, kSteeringWorld.clip(2, 5, 33).keys);
  EXPECT_NE(clip.keys, kSteeringWorld.clip(1, 6, 33).keys);
  EXPECT_NE(clip.path[0].x, kSteeringWorld.clip(2, 5, 33).path[0].x);
  EXPECT_NE(clip.path[0].x, clip.path[0].y);
  SteeringClip longer = kSteeringWorld.clip(1, 5, 99);
  longer.keys.resize(33);
  EXPECT_EQ(longer.keys, clip.keys);
  EXPECT_EQ(longer.path[32].x, clip.path[32].x);
}

TEST(SteeringWorld, KeysAndSubjectsAreDrawnEvenly) {
  std::set<std::string> captions;
  std::array<int, 5> counts{};
  int num_changes = 0;
  for (int64_t index = 0; index < 240; ++index) {
    const SteeringClip clip = kSteeringWorld.clip(0, index, 97);
    captions.insert(clip.caption());
    for (size_t frame = 0; frame < clip.keys.size(); ++frame) {
      ++counts[clip.keys[frame] ? *clip.keys[frame] + 1 : 0];
      if (frame > 0 && clip.keys[frame] != clip.keys[frame - 1]) ++num_changes;
    }
  }
  EXPECT_EQ(captions.size(), 12U);
  EXPECT_TRUE(captions.contains("a yellow circle"));
  for (const int count : counts) EXPECT_NEAR(count, 240 * 97 / 5, 600);
  // Keys are held for 8 frames on average, and the next differs in four of five cases.
  EXPECT_NEAR(num_changes, 240 * 96 / 8 * 4 / 5, 200);
}

TEST(SteeringWorld, TheShapeIsDrawnWhereItsPathSays) {
  const SteeringClip clip = kSteeringWorld.clip(3, 0, 9);
  const auto frames = kSteeringWorld.render(clip);
  ASSERT_EQ(frames.size(), 9U);
  for (size_t frame = 0; frame < frames.size(); ++frame) {
    const Point center = clip.path[frame];
    const uint8_t* pixel =
        frames[frame].pixel(static_cast<int>(center.x), static_cast<int>(center.y));
    EXPECT_EQ(pixel[0], kShapeColors[clip.color].rgb[0]);
    EXPECT_EQ(frames[frame].pixel(0, 0)[0], kShapesGround);
  }
}

}  // namespace
}  // namespace zoetrope
