#include "zoetrope/config/issues.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope::config {
namespace {

using ::testing::ElementsAre;

TEST(Issues, notes_of_the_same_words_are_one_that_names_every_place) {
  Issues issues;
  issues.note({"f", 9}, "models.critic.old", "has no effect here: gone");
  issues.note({"f", 4}, "models.student.old", "has no effect here: gone");
  issues.note({"f", 4}, "models.student.old", "has no effect here: gone");
  issues.note({"f", 6}, "models.student.other", "has no effect here: never was");
  EXPECT_THAT(issues.notes(),
              ElementsAre("f:4: models.student.old, f:9: models.critic.old: has no effect here: "
                          "gone",
                          "f:6: models.student.other: has no effect here: never was"));
  EXPECT_TRUE(issues.ok());
}

TEST(Issues, faults_stay_one_each_in_the_order_of_the_document) {
  Issues issues;
  issues.add({"f", 9}, "b", "must be positive");
  issues.add({"f", 4}, "a", "must be positive");
  EXPECT_THAT(issues.faults(), ElementsAre("f:4: a: must be positive", "f:9: b: must be positive"));
}

}  // namespace
}  // namespace zoetrope::config
