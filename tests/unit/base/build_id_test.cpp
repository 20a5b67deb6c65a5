#include "zoetrope/base/build_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

TEST(BuildId, IsThatOfTheLinker) {
  EXPECT_THAT(build_id(), testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(build_id(), build_id());
}

}  // namespace
}  // namespace zoetrope
