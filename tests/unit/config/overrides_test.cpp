#include "zoetrope/config/overrides.h"

#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope::config {
namespace {

Node applied(const std::string& yaml, const std::vector<std::string>& arguments) {
  Node node = parse_yaml(yaml, "f");
  apply_overrides(node, arguments);
  return node;
}

std::string error(const std::string& yaml, const std::vector<std::string>& arguments) {
  try {
    applied(yaml, arguments);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

std::string value(const std::string& text) {
  return parse_override_value(text, {"--a", 0}).describe();
}

TEST(Overrides, cast_as_fastvideo_does) {
  EXPECT_EQ(value("TRUE"), "true");
  EXPECT_EQ(value("false"), "false");
  EXPECT_EQ(value("None"), "null");
  EXPECT_EQ(value("null"), "null");
  EXPECT_EQ(value("-3"), "the number -3");
  EXPECT_EQ(value("1e-5"), "the number 1e-5");
  EXPECT_EQ(value("1_000"), "the number 1000");
  EXPECT_EQ(value("[0.0, 0.999]"), "a list");
  EXPECT_EQ(value("[broken"), "the text '[broken'");
  EXPECT_EQ(value("[a, [b]"), "the text '[a, [b]'");
  EXPECT_EQ(value("{a: 1}"), "the text '{a: 1}'");
  EXPECT_EQ(value("~"), "the text '~'");
  EXPECT_EQ(value(""), "the text ''");
  EXPECT_EQ(value("yes"), "the text 'yes'");
  EXPECT_EQ(value("runs/a b"), "the text 'runs/a b'");
}

TEST(Overrides, replace_and_add_values) {
  const Node node =
      applied("a: {b: 1, c: 2}\n", {"--a.b", "5", "--a.d=x=y", "--new.section.key", "--odd"});
  EXPECT_EQ(node.find("a")->find("b")->text(), "5");
  EXPECT_EQ(node.find("a")->find("b")->location().text(), "--a.b");
  EXPECT_EQ(node.find("a")->find("c")->location().text(), "f:1");
  EXPECT_EQ(node.find("a")->find("d")->text(), "x=y");
  EXPECT_EQ(node.find("new")->find("section")->find("key")->text(), "--odd");
}

TEST(Overrides, fill_a_null_section_and_let_the_last_one_win) {
  const Node node = applied("a:\n", {"--a.b=1", "--a.b=2"});
  EXPECT_EQ(node.find("a")->find("b")->text(), "2");
}

TEST(Overrides, give_list_items_the_location_of_the_override) {
  const Node node = applied("a: 1\n", {"--a", "[1, {x: 2}]"});
  EXPECT_EQ(node.find("a")->items()[1].find("x")->location().text(), "--a");
}

TEST(Overrides, refuse_what_is_no_override) {
  EXPECT_EQ(error("a: 1", {"a.b", "3"}),
            "command line: an override must look like --section.key, but got 'a.b'");
  EXPECT_EQ(error("a: 1", {"--"}),
            "command line: an override must look like --section.key, but got '--'");
  EXPECT_EQ(error("a: 1", {"--a"}),
            "--a: an override must have a value, but none follows; write --a=VALUE");
  EXPECT_EQ(error("a: {}", {"--a..b=1"}),
            "--a..b: an override must name keys joined by single dots, but a key is empty");
  EXPECT_EQ(
      error("a: [1]", {"--a.0=1"}),
      "--a.0: what comes before '0' must be a map, but it is a list; give the whole value instead");
}

}  // namespace
}  // namespace zoetrope::config
