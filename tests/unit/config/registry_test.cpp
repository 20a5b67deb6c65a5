#include "zoetrope/config/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope::config {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
};

struct SquareConfig {
  double side = 2;
  static void describe(Schema<SquareConfig>& schema) {
    schema.field("side", &SquareConfig::side, "Length of a side.", greater_than(0));
  }
  void check_run(const Node& node, const RunFacts& run, const ReadContext& context) const {
    if (side < static_cast<double>(run.num_latent_frames)) refuse(node, context, "must be longer");
  }
};

class Square : public Shape {
 public:
  Square(const SquareConfig& config, double scale) : side_(config.side * scale) {}
  double area() const override { return side_ * side_; }

 private:
  double side_;
};

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() : shapes_("shape") {
    shapes_.add<Square, SquareConfig>("package.shapes.Square", {"square"}, "Four equal sides.");
    shapes_.add_planned({.name = "package.shapes.Disc",
                         .aliases = {"disc"},
                         .doc = "Round.",
                         .planned = "is not built yet"},
                        {"radius"});
  }
  Component read(const std::string& yaml, const std::string& default_target = "") {
    return shapes_.read(parse_yaml(yaml, "f"), {issues_, "x"}, default_target);
  }

  Registry<Shape, double> shapes_;
  Issues issues_;
};

TEST_F(RegistryTest, builds_a_target_from_its_config) {
  const Component component = read("{_target_: package.shapes.Square, side: 3}");
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(component.as<SquareConfig>().side, 3);
  EXPECT_EQ(shapes_.make(component, 2.0)->area(), 36);
}

TEST_F(RegistryTest, knows_the_configs_check_of_a_run) {
  const std::string yaml = "{_target_: square, side: 3}";
  const Component component = read(yaml);
  EXPECT_TRUE(component.is_complete);
  ASSERT_TRUE(component.target->check_run);
  const auto check = [&](int64_t num_latent_frames) {
    component.target->check_run(component.config.get(), parse_yaml(yaml, "f"),
                                {.num_latent_frames = num_latent_frames}, {issues_, "x"});
    return issues_.faults();
  };
  EXPECT_THAT(check(3), IsEmpty());
  EXPECT_THAT(check(4), ElementsAre("f:1: x: must be longer"));
  EXPECT_FALSE(read("{_target_: square, side: 0}").is_complete);
}

TEST_F(RegistryTest, writes_the_full_name_and_every_field) {
  EXPECT_EQ(write_yaml(TargetTable::write(read("{_target_: square}"))),
            "_target_: package.shapes.Square\nside: 2.0\n");
}

TEST_F(RegistryTest, uses_the_default_target) {
  EXPECT_EQ(read("{side: 4}", "square").as<SquareConfig>().side, 4);
  EXPECT_EQ(read("", "square").as<SquareConfig>().side, 2);
  EXPECT_THAT(issues_.faults(), IsEmpty());
}

TEST_F(RegistryTest, lists_faults) {
  read("a: 1\n");
  read("_target_: sqare\n");
  read("_target_: package.unknown.Thing\n");
  read("{_target_: square, sied: 1}");
  read("3");
  EXPECT_THAT(
      issues_.faults(),
      ElementsAre(
          "f:1: x: must have a '_target_' key that names a shape, but has none",
          "f:1: x._target_: must be a known shape, but got 'sqare'; did you mean 'square'?",
          "f:1: x._target_: must be a known shape, but got 'package.unknown.Thing'; `zoetrope "
          "targets` lists them",
          "f:1: x.sied: must be a known key, but got 'sied'; did you mean 'side'?",
          "f:1: x: must be a map, but got the number 3"));
}

TEST_F(RegistryTest, refuses_a_planned_target_once_and_still_checks_its_keys) {
  EXPECT_EQ(read("{_target_: disc, radius: [1]}").target, nullptr);
  EXPECT_THAT(
      issues_.faults(),
      ElementsAre(
          "f:1: x._target_: must be a shape that can be used, but 'disc' is not built yet"));
  read("_target_: disc\nradios: -1\n");
  EXPECT_EQ(issues_.faults().size(), 2);
}

TEST_F(RegistryTest, refuses_a_second_registration) {
  EXPECT_THROW((shapes_.add<Square, SquareConfig>("other.Square", {"square"}, "Again.")), Error);
}

}  // namespace
}  // namespace zoetrope::config
