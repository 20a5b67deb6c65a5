#include "zoetrope/config/json_writer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace zoetrope::config {
namespace {

TEST(JsonWriter, TypesScalarsAsYamlDoes) {
  const Node node = parse_yaml(
      "a: 3\nb: 3.0\nc: 1e-5\nd: true\ne: 'true'\nf: null\ng: [1, x]\nh: {z: 0, y: -2}\n", "f");
  EXPECT_EQ(
      to_json(node).dump(),
      R"({"a":3,"b":3.0,"c":1e-05,"d":true,"e":"true","f":null,"g":[1,"x"],"h":{"z":0,"y":-2}})");
}

TEST(JsonWriter, GivesADocumentThatReadsBackTheSame) {
  const Node node = parse_yaml("text: 'no'\nlist: []\nmap: {}\nnumber: 0.1\n", "f");
  const std::string json = to_json(node).dump();
  EXPECT_EQ(to_json(parse_yaml(json, "g")).dump(), json);
}

}  // namespace
}  // namespace zoetrope::config
