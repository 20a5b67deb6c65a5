// Names of keys, and the values that the model is given for them.
#include "zoetrope/serving/play_controls.h"

#include <gmock/gmock.h>

#include "support/error_text.h"

namespace zoetrope::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr float kStep = 0.1F;

TEST(PlayControls, EachKeyHasAColumn) {
  const PlayControls controls({"w", "s", "space"}, 0.0);
  EXPECT_THAT(controls.names(), ElementsAre("w", "s", "space"));
  EXPECT_THAT(controls.actions({}).keyboard, ElementsAre(0, 0, 0));
  EXPECT_THAT(controls.actions({"space", "w"}).keyboard, ElementsAre(1, 0, 1));
  EXPECT_THAT(controls.actions({"w"}).mouse, ElementsAre(0, 0));
}

TEST(PlayControls, NoneIsDownWhileNoOtherKeyIs) {
  const PlayControls controls({"none", "up", "down"}, 0.0);
  EXPECT_THAT(controls.names(), ElementsAre("up", "down"));
  EXPECT_THAT(controls.actions({}).keyboard, ElementsAre(1, 0, 0));
  EXPECT_THAT(controls.actions({"down"}).keyboard, ElementsAre(0, 0, 1));
}

TEST(PlayControls, ArrowsMoveTheMouse) {
  const PlayControls controls({"w"}, kStep);
  EXPECT_THAT(controls.names(), ElementsAre("w", "up", "down", "left", "right"));
  EXPECT_THAT(controls.actions({"up", "right"}).mouse, ElementsAre(kStep, kStep));
  EXPECT_THAT(controls.actions({"down", "left", "w"}).mouse, ElementsAre(-kStep, -kStep));
  EXPECT_THAT(controls.actions({"left", "right"}).mouse, ElementsAre(0, 0));
}

TEST(PlayControls, WrongNamesAreRefused) {
  const auto refusal_of = [](const std::vector<std::string>& keys, double mouse_step) {
    return error_of([&] { PlayControls(keys, mouse_step); });
  };
  EXPECT_THAT(refusal_of({"w", "W"}, 0.0), HasSubstr("--keys: must be small letters"));
  EXPECT_THAT(refusal_of({"jump"}, 0.0), HasSubstr("but one is 'jump'"));
  EXPECT_THAT(refusal_of({""}, 0.0), HasSubstr("but one is ''"));
  EXPECT_THAT(refusal_of({"w", "w"}, 0.0), HasSubstr("'w' comes twice"));
  EXPECT_THAT(refusal_of({"none", "none"}, 0.0), HasSubstr("none at most once"));
  EXPECT_THAT(refusal_of({"up"}, kStep), HasSubstr("arrows, which move the mouse"));
  EXPECT_THAT(error_of([] { PlayControls({"w"}, 0.0).actions({"up"}); }),
              HasSubstr("keys: must be among [w], but one is 'up'"));
}

TEST(PlayControls, DefaultKeys) {
  EXPECT_THAT(PlayControls::default_keys(0), IsEmpty());
  EXPECT_THAT(PlayControls::default_keys(4), ElementsAre("w", "s", "a", "d"));
  EXPECT_THAT(error_of([] { PlayControls::default_keys(7); }),
              HasSubstr("--keys: must name the model's 7 keys"));
}

}  // namespace
}  // namespace zoetrope::test
