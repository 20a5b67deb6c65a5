#include "zoetrope/optim/learning_rate_schedule.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

OptimizerConfig schedule(const std::string& name) {
  OptimizerConfig config;
  config.learning_rate = 1e-3;
  config.lr_scheduler = name;
  return config;
}

TEST(LearningRateSchedule, MatchesEveryRecordedSchedule) {
  size_t num_compared = 0;
  for (const auto& folder : test::golden_folders(test::golden_root())) {
    const test::GoldenCase golden(folder);
    if (!golden.json().contains("lr")) continue;
    for (const auto& recorded : golden.json().at("lr")) {
      OptimizerConfig config = schedule(recorded.at("name"));
      config.learning_rate = recorded.at("base_lr");
      config.lr_warmup_steps = recorded.value("num_warmup_steps", 0);
      config.lr_num_cycles = recorded.value("num_cycles", 0);
      config.lr_power = recorded.value("power", 0.0);
      config.min_lr_ratio = recorded.value("min_lr_ratio", 0.0);
      const LearningRateSchedule ours(config, recorded.at("num_training_steps"));
      int64_t update = 0;
      for (const auto& expected : recorded.at("lrs_used_at_step_0..")) {
        EXPECT_NEAR(ours.learning_rate(update), expected.get<double>(),
                    1e-12 * config.learning_rate)
            << config.lr_scheduler << " at " << update;
        ++update;
      }
      ++num_compared;
    }
  }
  if (num_compared == 0) GTEST_SKIP() << "no recorded schedules in " << test::golden_root();
}

TEST(LearningRateSchedule, ConstantIgnoresTheWarmUp) {
  OptimizerConfig config = schedule("constant");
  config.lr_warmup_steps = 10;
  EXPECT_EQ(LearningRateSchedule(config, 100).learning_rate(0), 1e-3);
}

TEST(LearningRateSchedule, ExplicitZerosAreRespected) {
  OptimizerConfig config = schedule("cosine_with_min_lr");
  config.min_lr_ratio = 0.0;
  EXPECT_NEAR(LearningRateSchedule(config, 10).learning_rate(10), 0.0, 1e-18);
  config = schedule("polynomial");
  config.lr_power = 0.0;
  EXPECT_DOUBLE_EQ(LearningRateSchedule(config, 10).learning_rate(7), 1e-3);
  config = schedule("linear");
  config.lr_warmup_steps = 0;
  EXPECT_DOUBLE_EQ(LearningRateSchedule(config, 10).learning_rate(0), 1e-3);
  config.learning_rate = 0.0;
  EXPECT_EQ(LearningRateSchedule(config, 10).learning_rate(3), 0.0);
}

TEST(LearningRateSchedule, ClippedCosineIsNotRescaled) {
  OptimizerConfig config = schedule("cosine_with_min_lr");
  config.min_lr_ratio = 0.1;
  const LearningRateSchedule ours(config, 10);
  EXPECT_NEAR(ours.learning_rate(5), 0.5e-3, 1e-15);
  EXPECT_DOUBLE_EQ(ours.learning_rate(9), 1e-4);
}

TEST(LearningRateSchedule, RefusesUnknownNamesAndTooSmallPolynomials) {
  EXPECT_THROW(LearningRateSchedule(schedule("cosin"), 10), ConfigError);
  OptimizerConfig config = schedule("polynomial");
  config.learning_rate = 1e-7;
  EXPECT_THROW(LearningRateSchedule(config, 10), ConfigError);
}

}  // namespace
}  // namespace zoetrope
