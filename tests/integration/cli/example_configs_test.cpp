// The configs of examples/: they pass as they are, and resolved.
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/catalog.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::IsEmpty;

TEST(ExampleConfigs, have_no_faults) {
  const Catalog catalog;
  std::set<std::string> names;
  const fs::path examples = fs::path(ZOETROPE_SOURCE_DIR) / "examples";
  for (const auto& entry : fs::recursive_directory_iterator(examples)) {
    if (entry.path().extension() != ".yaml") continue;
    names.insert(fs::relative(entry.path(), examples).generic_string());
    config::Issues issues;
    const auto stages =
        read_stages(config::parse_yaml_file(entry.path()), {}, catalog.tables(), issues);
    EXPECT_THAT(issues.faults(), IsEmpty());
    if (!issues.ok()) continue;
    const std::string resolved = write_yaml(write_stages(stages));
    config::Issues again;
    EXPECT_EQ(write_yaml(write_stages(read_stages(config::parse_yaml(resolved, "resolved"), {},
                                                  catalog.tables(), again))),
              resolved);
    EXPECT_THAT(again.faults(), IsEmpty());
  }
  for (const char* size : {"1.3b", "14b"}) {
    for (const char* recipe :
         {"sft", "lora", "dfsft", "kd", "kd_causal", "consistency", "dmd2", "self_forcing"})
      EXPECT_THAT(names, Contains(fmt::format("wan2.1/{}/{}.yaml", size, recipe)));
  }
  for (const char* run : {"teacher", "dmd2", "dfsft", "tfsft", "consistency", "kd", "self_forcing"})
    EXPECT_THAT(names, Contains(fmt::format("toy_world/{}.yaml", run)));
}

}  // namespace
}  // namespace zoetrope
