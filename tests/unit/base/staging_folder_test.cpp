#include "zoetrope/base/staging_folder.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

TEST(StagingFolder, AppearsWholeOrNotAtAll) {
  const test::TemporaryFolder folder;
  const fs::path target = folder / "weights";
  {
    const StagingFolder staging(target);
    write_file_atomically(staging.path() / "a", "half");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  StagingFolder staging(target);
  write_file_atomically(staging.path() / "a", "whole");
  EXPECT_FALSE(fs::exists(target));
  staging.put_in_place();
  EXPECT_EQ(read_file(target / "a"), "whole");
}

TEST(StagingFolder, ReplacesWhatWasThereAndClearsLeftovers) {
  const test::TemporaryFolder folder;
  const fs::path target = folder / "weights";
  fs::create_directories(target);
  write_file_atomically(target / "old", "1");
  fs::create_directories(folder / ".weights.partial");
  write_file_atomically(folder / ".weights.partial/left by a killed process", "2");
  StagingFolder staging(target);
  EXPECT_TRUE(fs::is_empty(staging.path()));
  write_file_atomically(staging.path() / "new", "3");
  staging.put_in_place();
  EXPECT_FALSE(fs::exists(target / "old"));
  EXPECT_EQ(read_file(target / "new"), "3");
}

TEST(StagingFolder, CanPutOneFileInPlace) {
  const test::TemporaryFolder folder;
  StagingFolder staging(folder / "model.safetensors");
  write_file_atomically(staging.path() / "part", "bytes");
  staging.put_in_place(staging.path() / "part");
  EXPECT_EQ(read_file(folder / "model.safetensors"), "bytes");
}

}  // namespace
}  // namespace zoetrope
