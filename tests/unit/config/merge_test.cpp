// A section laid over another one, and faults of several documents that share text.
#include "zoetrope/config/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/config/issues.h"

namespace zoetrope::config {
namespace {

using ::testing::ElementsAre;

std::string merged(const std::string& base, const std::string& overlay) {
  return write_yaml(merge(parse_yaml(base, "f"), parse_yaml(overlay, "g")));
}

TEST(Merge, merges_maps_by_key_and_replaces_the_rest) {
  EXPECT_EQ(merged("{a: {b: 1, c: [1, 2]}, d: 2}", "{a: {c: [3], e: 4}, d: {f: 5}}"),
            "a:\n  b: 1\n  c: [3]\n  e: 4\nd:\n  f: 5\n");
}

TEST(Merge, null_takes_a_key_away) {
  EXPECT_EQ(merged("{a: {b: 1, c: 2}, d: 3}", "{a: {b: null}, d: null, e: null}"), "a:\n  c: 2\n");
  EXPECT_EQ(merged("{a: 1}", "{b: {c: null, d: 1}}"), "a: 1\nb:\n  d: 1\n");
}

TEST(Merge, another_target_replaces_the_whole_section) {
  EXPECT_EQ(merged("{m: {_target_: x, k: 1}}", "{m: {_target_: y, l: 2}}"),
            "m:\n  _target_: y\n  l: 2\n");
  EXPECT_EQ(merged("{m: {_target_: x, k: 1}}", "{m: {_target_: x, l: 2}}"),
            "m:\n  _target_: x\n  k: 1\n  l: 2\n");
  EXPECT_EQ(merged("{m: {_target_: x, k: 1}}", "{m: {l: 2}}"),
            "m:\n  _target_: x\n  k: 1\n  l: 2\n");
  EXPECT_EQ(merged("{m: {k: 1}}", "{m: {_target_: x}}"), "m:\n  _target_: x\n");
}

TEST(Merge, keeps_locations) {
  const Node node = merge(parse_yaml("a:\n  b: 1\n", "f"), parse_yaml("\n\na:\n  c: 1\n", "g"));
  EXPECT_EQ(node.find("a")->location().text(), "g:3");
  EXPECT_EQ(node.find("a")->find("b")->location().text(), "f:2");
  EXPECT_EQ(node.find("a")->find("c")->location().text(), "g:4");
}

TEST(IssuesOfParts, name_the_part_unless_all_have_the_fault) {
  Issues first;
  first.add({"f", 1}, "a", "is wrong");
  first.add({"f", 2}, "b", "is missing");
  Issues second;
  second.add({"f", 1}, "a", "is wrong");
  second.note({"f", 3}, "c", "has no effect");
  Issues all;
  all.add_parts({{"part 1", first}, {"part 2", second}});
  EXPECT_THAT(all.faults(), ElementsAre("f:1: a: is wrong", "f:2: b: is missing (part 1)"));
  EXPECT_THAT(all.notes(), ElementsAre("f:3: c: has no effect"));
}

}  // namespace
}  // namespace zoetrope::config
