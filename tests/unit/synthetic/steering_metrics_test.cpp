// Metrics of steered videos whose faults are known.
#include "zoetrope/synthetic/steering_metrics.h"

#include <algorithm>
#include <numeric>

#include <gmock/gmock.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::Lt;
using testing::ThrowsMessage;

const SteeringWorld kWorldOfKeys(48, 48);

ObeyedSteps total(const std::vector<ObeyedSteps>& steps) {
  return std::accumulate(steps.begin(), steps.end(), ObeyedSteps());
}

std::vector<std::optional<Point>> seen_path(const std::vector<Point>& path) {
  return {path.begin(), path.end()};
}

TEST(SteeringMetrics, TrueClipsObeyInAllStepsAndOtherKeysGiveChance) {
  SteeringScorer scorer(kWorldOfKeys);
  for (int64_t index = 0; index < 96; ++index) {
    const SteeringClip clip = kWorldOfKeys.clip(0, index, 65);
    scorer.add(clip, kWorldOfKeys.render(clip));
  }
  const SteeringScores scores = scorer.scores();
  EXPECT_EQ(scores.num_videos, 96);
  EXPECT_EQ(scores.obeyed.size(), 64U);
  EXPECT_EQ(total(scores.obeyed).share(), 1.0);
  // Most steps can be judged: the others lead into a wall.
  EXPECT_GT(total(scores.obeyed).num_judged, 96 * 64 * 2 / 3);
  // More than a fifth: at a wall the shape stands still, and fewer steps of arrow keys are judged.
  EXPECT_NEAR(total(scores.obeyed_shuffled).share(), 0.27, 0.04);
  EXPECT_NEAR(scores.color_accuracy, 1.0, 1e-9);
  EXPECT_NEAR(scores.shape_accuracy, 1.0, 1e-9);
  EXPECT_NEAR(scores.visible, 1.0, 1e-9);
  EXPECT_GT(scores.shape_overlap, 0.95);
  EXPECT_THAT(scores.position_error, Each(Lt(0.2)));
}

TEST(SteeringMetrics, TravelShowsTheNearestKeyFromAQuarterOfAStepOn) {
  EXPECT_EQ(shown_key({-1.9, 0.3}), HeldKey(2));
  EXPECT_EQ(shown_key({1.1, 1.0}), HeldKey(3));
  EXPECT_EQ(shown_key({0.4, -2.5}), HeldKey(0));
  EXPECT_EQ(shown_key({0.0, 0.51}), HeldKey(1));
  EXPECT_EQ(shown_key({0.0, 0.49}), HeldKey());
  EXPECT_EQ(shown_key({0.0, 0.0}), HeldKey());
}

TEST(SteeringMetrics, OneLateFrameIsOneStepThatDoesNotObey) {
  const std::vector<HeldKey> keys = {3, 3, 3, 1, 1, 1};
  auto path = seen_path(kWorldOfKeys.path({20.0, 20.0}, keys));
  EXPECT_EQ(total(judge_steps(kWorldOfKeys, keys, path)).num_obeyed, 5);
  path[4]->x += 2.0;  // goes on to the right once, where it was to go down
  path[4]->y -= 2.0;
  path[5]->x += 2.0;
  path[5]->y -= 2.0;
  const auto steps = judge_steps(kWorldOfKeys, keys, path);
  EXPECT_EQ(total(steps).num_judged, 5);
  EXPECT_EQ(total(steps).num_obeyed, 4);
  EXPECT_EQ(steps[3].num_obeyed, 0);
}

TEST(SteeringMetrics, StepsIntoAWallAreNotJudged) {
  const double margin = kWorldOfKeys.shapes().margin();
  const std::vector<HeldKey> keys = {2, 2, 2, 0, {}};
  const auto steps =
      judge_steps(kWorldOfKeys, keys, seen_path(kWorldOfKeys.path({margin + 3.0, 24.0}, keys)));
  EXPECT_EQ(steps[0].num_judged, 1);
  EXPECT_EQ(steps[1].num_judged, 0);  // one pixel is left
  EXPECT_EQ(steps[2].num_judged, 0);
  EXPECT_EQ(steps[3].num_judged, 1);
}

TEST(SteeringMetrics, AStillShapeObeysNoKeyOnly) {
  SteeringScorer scorer(kWorldOfKeys);
  SteeringClip clip = kWorldOfKeys.clip(0, 0, 9);
  clip.path = std::vector<Point>(9, {24.0, 24.0});
  const auto still = kWorldOfKeys.render(clip);
  clip.keys = {{}, {}, {}, 3, 3, 3, 0, 0, 0};
  clip.path = kWorldOfKeys.path({24.0, 24.0}, clip.keys);
  scorer.add(clip, still);
  const SteeringScores scores = scorer.scores();
  EXPECT_EQ(total(scores.obeyed).num_judged, 8);
  EXPECT_EQ(total(scores.obeyed).num_obeyed, 3);
  EXPECT_NEAR(scores.position_error[6], 6.0, 0.1);
}

TEST(SteeringMetrics, AShapeThatIsLostDoesNotObey) {
  SteeringScorer scorer(kWorldOfKeys);
  const SteeringClip clip = kWorldOfKeys.clip(0, 0, 9);
  auto frames = kWorldOfKeys.render(clip);
  std::ranges::fill(frames[8].rgb, uint8_t{0});
  scorer.add(clip, frames);
  const SteeringScores scores = scorer.scores();
  EXPECT_EQ(scores.obeyed[7].num_judged, 1);
  EXPECT_EQ(scores.obeyed[7].num_obeyed, 0);
  EXPECT_NEAR(scores.visible, 8.0 / 9.0, 1e-9);
  EXPECT_NEAR(scores.position_error[8], 48.0 * 1.41421 / 4.0, 1e-3);
}

TEST(SteeringMetrics, OtherLengthsAreRefused) {
  SteeringScorer scorer(kWorldOfKeys);
  const SteeringClip clip = kWorldOfKeys.clip(0, 0, 9);
  const SteeringClip longer = kWorldOfKeys.clip(0, 0, 13);
  EXPECT_THAT([&] { scorer.add(clip, kWorldOfKeys.render(longer)); },
              ThrowsMessage<DataError>(HasSubstr("must have 9 frames, but one has 13")));
  scorer.add(clip, kWorldOfKeys.render(clip));
  EXPECT_THAT([&] { scorer.add(longer, kWorldOfKeys.render(longer)); },
              ThrowsMessage<DataError>(HasSubstr("must have 9 frames, but one has 13")));
}

}  // namespace
}  // namespace zoetrope
