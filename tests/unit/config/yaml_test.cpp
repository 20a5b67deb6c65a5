// Reading and writing config documents: locations, faults, and the round trip.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"
#include "zoetrope/config/node.h"

namespace zoetrope::config {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string parse_error(const std::string& text) {
  try {
    parse_yaml(text, "run.yaml");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

std::string file_error(const std::filesystem::path& path) {
  try {
    parse_yaml_file(path);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

bool same_tree(const Node& a, const Node& b) {
  if (a.kind() != b.kind() || a.describe() != b.describe()) return false;
  if (a.items().size() != b.items().size() || a.entries().size() != b.entries().size())
    return false;
  for (size_t i = 0; i < a.items().size(); ++i) {
    if (!same_tree(a.items()[i], b.items()[i])) return false;
  }
  for (size_t i = 0; i < a.entries().size(); ++i) {
    if (a.entries()[i].first != b.entries()[i].first) return false;
    if (!same_tree(a.entries()[i].second, b.entries()[i].second)) return false;
  }
  return true;
}

TEST(YamlReader, keeps_every_kind_of_value_and_its_line) {
  const Node node = parse_yaml(
      "# a comment\n"
      "number: 1e-5\n"
      "text: 'true'\n"
      "nothing: null\n"
      "empty_list: []\n"
      "section:\n"
      "  zero: 0\n"
      "  off: false\n"
      "list:\n"
      "  - 1\n"
      "  - two\n",
      "run.yaml");
  EXPECT_EQ(node.find("number")->describe(), "the number 1e-5");
  EXPECT_EQ(node.find("text")->describe(), "the text 'true'");
  EXPECT_TRUE(node.find("nothing")->is_null());
  EXPECT_EQ(node.find("empty_list")->describe(), "an empty list");
  EXPECT_EQ(node.find("section")->location().text(), "run.yaml:6");
  EXPECT_EQ(node.find("section")->find("zero")->location().text(), "run.yaml:7");
  EXPECT_EQ(node.find("section")->find("zero")->text(), "0");
  EXPECT_EQ(node.find("section")->find("off")->describe(), "false");
  EXPECT_EQ(node.find("list")->items()[1].location().text(), "run.yaml:11");
}

TEST(YamlReader, resolves_aliases_and_merges) {
  const Node node =
      parse_yaml("base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  b: 3\ncopy: *base\n", "x");
  EXPECT_EQ(node.find("other")->find("a")->text(), "1");
  EXPECT_EQ(node.find("other")->find("b")->text(), "3");
  EXPECT_EQ(node.find("copy")->find("b")->text(), "2");
  EXPECT_EQ(node.find("copy")->location().line, 5);
}

TEST(YamlReader, lets_the_first_of_several_merges_win) {
  const Node node = parse_yaml("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc:\n  <<: [*a, *b]\n", "x");
  EXPECT_EQ(node.find("c")->find("x")->text(), "1");
  EXPECT_EQ(node.find("c")->find("y")->text(), "3");
}

TEST(YamlReader, refuses_an_alias_of_itself) {
  EXPECT_THAT(parse_error("a: &a\n  b: *a\n"), HasSubstr("does an alias contain itself?"));
}

// Found by tests/fuzz/yaml_fuzz.cpp: yaml-cpp finds empty documents without end in these.
TEST(YamlReader, ends_on_text_that_yaml_cpp_does_not_consume) {
  for (const char* text : {",", ", a", "- a\n, b\n,"})
    EXPECT_THAT(parse_error(text), StartsWith("run.yaml:")) << text;
}

TEST(YamlReader, names_the_line_of_a_fault) {
  EXPECT_THAT(parse_error("a: 1\nb: [1, 2\nc: 3\n"), StartsWith("run.yaml:"));
  EXPECT_EQ(parse_error("a: 1\nb: 2\na: 3\n"),
            "run.yaml:3: a key must be given once, but 'a' was already given at line 1");
  EXPECT_EQ(parse_error("a: 1\n---\nb: 2\n"),
            "run.yaml:2: a config must be one YAML document, but another begins here; remove the "
            "'---' lines");
  EXPECT_THAT(parse_error("a: !!python/object:os.system ls\n"),
              HasSubstr("run.yaml:1: a value must be plain YAML"));
  EXPECT_EQ(parse_error("[1, 2]: 3\n"), "run.yaml:1: a key must be text, but got a list");
}

TEST(YamlReader, names_tabs) {
  const std::string message =
      "run.yaml:2: lines must be indented with spaces, but this one has a tab";
  EXPECT_EQ(parse_error("a:\n\tb: 1\n"), message);
  EXPECT_EQ(parse_error("a:\n  \tb: 1\n  \tc: 1\n").substr(0, 9), "run.yaml:");
  EXPECT_EQ(parse_error("a: 1\t# a tab before a comment is fine\n"), "no error");
}

TEST(YamlReader, names_what_is_wrong_with_the_file) {
  const std::filesystem::path folder = ::testing::TempDir();
  EXPECT_EQ(
      file_error(folder / "absent.yaml"),
      (folder / "absent.yaml").string() + ": must be a config file, but there is no such file");
  EXPECT_EQ(file_error(folder), folder.string() + ": must be a config file, but it is a folder");
  const auto empty = folder / "empty.yaml";
  std::ofstream(empty) << "# nothing but a comment\n";
  EXPECT_EQ(file_error(empty), empty.string() + ": must hold a config, but it is empty");
}

TEST(YamlWriter, reads_back_as_the_same_tree) {
  const std::vector<std::string> documents = {
      "a: 1\nb: 'true'\nc: \"null\"\nd: null\ne: ''\nf: []\ng: {}\n",
      "a: [1, 'two', [3, {x: 4}], null, true]\n",
      "list:\n  - name: x\n    value: 1.5\n  - {}\n  - [a, b]\n",
      "text: \"line one\\nline two\\ttab \\\" quote \\\\ back\"\n",
      "text: '# no comment'\nother: 'a: b'\nurl: https://x.y:80/z?q=1\ndash: '- x'\nstar: '*a'\n",
      "'odd key: x': 1\n'': 2\n'true': 3\n",
      "chinese: 镜头\n",
      "'<<': 1\n",
      "time: 12:30\ntilde: '~'\nspace: ' x '\nhex: 0x10\ndots: '...'\n",
  };
  for (const std::string& document : documents) {
    const Node node = parse_yaml(document, "x");
    const std::string written = write_yaml(node);
    EXPECT_TRUE(same_tree(node, parse_yaml(written, "x"))) << document << "->\n" << written;
  }
}

TEST(YamlWriter, writes_long_lists_as_blocks) {
  Node list = Node::list();
  for (int i = 0; i < 60; ++i) list.push_back(Node::scalar(std::to_string(i)));
  Node map = Node::map();
  map.set("list", list);
  EXPECT_THAT(write_yaml(map), StartsWith("list:\n  - 0\n"));
  EXPECT_TRUE(same_tree(map, parse_yaml(write_yaml(map), "x")));
}

}  // namespace
}  // namespace zoetrope::config
