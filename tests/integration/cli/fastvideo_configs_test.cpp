// FastVideo's own Wan configs, unmodified, from a checkout of theirs: those of built targets pass,
// the others fail only because of what is not built yet.
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/catalog.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

bool is_wan_config(const fs::path& path) {
  const std::string text = path.generic_string();
  const bool in_scope = text.find("/configs/example.yaml") != std::string::npos ||
                        text.find("/wan/") != std::string::npos ||
                        text.find("/scenario/") != std::string::npos;
  return path.extension() == ".yaml" && in_scope;
}

TEST(FastVideoConfigs, pass_unless_they_need_what_is_not_built) {
  const char* folder = std::getenv("ZOETROPE_FASTVIDEO_DIR");
  if (folder == nullptr)
    GTEST_SKIP() << "ZOETROPE_FASTVIDEO_DIR does not name a checkout of FastVideo";
  const Catalog catalog;
  int num_files = 0;
  int num_passed = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(folder) / "examples" / "train")) {
    if (!is_wan_config(entry.path())) continue;
    ++num_files;
    config::Issues issues;
    const RunConfig run =
        read_run_config(config::parse_yaml_file(entry.path()), catalog.tables(), issues);
    for (const std::string& fault : issues.faults()) EXPECT_THAT(fault, HasSubstr("not built yet"));
    if (!issues.ok()) continue;
    ++num_passed;
    config::Issues again;
    read_run_config(config::parse_yaml(write_yaml(write_run_config(run)), "resolved"),
                    catalog.tables(), again);
    EXPECT_TRUE(again.ok()) << entry.path() << ": " << again.faults().front();
  }
  EXPECT_GE(num_files, 25);
  EXPECT_GE(num_passed, 2);
}

}  // namespace
}  // namespace zoetrope
