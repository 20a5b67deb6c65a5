#include "zoetrope/base/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

const std::vector<std::string>& keys() {
  static const std::vector<std::string> names = {"learning_rate", "lr_scheduler", "max_train_steps",
                                                 "betas", "seed"};
  return names;
}

TEST(NearestName, FindsTypos) {
  EXPECT_EQ(nearest_name("learnign_rate", keys()), "learning_rate");       // swapped
  EXPECT_EQ(nearest_name("lr_schedule", keys()), "lr_scheduler");          // missing
  EXPECT_EQ(nearest_name("max_trains_steps", keys()), "max_train_steps");  // too much
  EXPECT_EQ(nearest_name("sead", keys()), "seed");
  EXPECT_EQ(nearest_name("BETAS", keys()), "betas");
}

TEST(NearestName, GivesNothingForStrangers) {
  EXPECT_EQ(nearest_name("checkpoint", keys()), std::nullopt);
  EXPECT_EQ(nearest_name("anything", {}), std::nullopt);
}

TEST(NearestName, MakesAHint) {
  EXPECT_EQ(did_you_mean("sedd", keys()), "; did you mean 'seed'?");
  EXPECT_EQ(did_you_mean("nothing_like_it", keys()), "");
}

}  // namespace
}  // namespace zoetrope
