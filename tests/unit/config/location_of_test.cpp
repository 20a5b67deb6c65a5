#include "zoetrope/config/location_of.h"

#include <gtest/gtest.h>

namespace zoetrope::config {
namespace {

TEST(LocationOf, IsThatOfTheValueOrOfTheNearestSectionAboveIt) {
  const Node node = parse_yaml("a:\n  b:\n    c: 1\nd: 2\n", "f");
  EXPECT_EQ(location_of(node, "a.b.c").text(), "f:3");
  EXPECT_EQ(location_of(node, "d").text(), "f:4");
  EXPECT_EQ(location_of(node, "a.b.x").text(), node.find("a")->find("b")->location().text());
  EXPECT_EQ(location_of(node, "a.x.c").text(), node.find("a")->location().text());
  EXPECT_EQ(location_of(node, "d.x").text(), "f:4") << "no section";
  EXPECT_EQ(location_of(node, "x").text(), node.location().text());
}

}  // namespace
}  // namespace zoetrope::config
