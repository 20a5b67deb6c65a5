// The configs of examples/: they pass as they are, and resolved.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/catalog.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

TEST(ExampleConfigs, have_no_faults) {
  const Catalog catalog;
  int num_files = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(ZOETROPE_SOURCE_DIR) / "examples")) {
    if (entry.path().extension() != ".yaml") continue;
    ++num_files;
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
  EXPECT_GE(num_files, 14);
}

}  // namespace
}  // namespace zoetrope
