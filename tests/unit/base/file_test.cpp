#include "zoetrope/base/file.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::FileSizeLimit;
using test::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

int64_t num_entries(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(ReadFile, GivesAllBytes) {
  const TemporaryFolder folder;
  const std::string bytes("a\0b\r\n\xff", 6);
  write_file_atomically(folder / "a", bytes);
  EXPECT_EQ(read_file(folder / "a"), bytes);
  write_file_atomically(folder / "a", "");
  EXPECT_EQ(read_file(folder / "a"), "");
}

TEST(ReadFile, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { read_file(folder / "absent"); }),
              AllOf(HasSubstr("absent: must be a readable file"), HasSubstr("No such file")));
  EXPECT_THAT(error_of([&] { read_file(folder.path()); }),
              HasSubstr("must be a file, but is a folder"));
}

TEST(WriteFileAtomically, ReplacesTheOldFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  write_file_atomically(folder / "a", "new contents");
  EXPECT_EQ(read_file(folder / "a"), "new contents");
  EXPECT_EQ(num_entries(folder.path()), 1);
}

TEST(WriteFileAtomically, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  const std::string bytes(1 << 20, 'x');
  std::string message;
  {
    const FileSizeLimit limit(64 << 10);
    message = error_of([&] { write_file_atomically(folder / "a", bytes); });
  }
  EXPECT_THAT(message,
              AllOf(HasSubstr("a: 1.0 MiB could not be written"), HasSubstr("File too large")));
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(num_entries(folder.path()), 1);
}

TEST(WriteFileAtomically, NamesAMissingFolder) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { write_file_atomically(folder / "no/a", "x"); }),
              AllOf(HasSubstr("no/a: cannot be created"), HasSubstr("No such file")));
}

TEST(AtomicFile, WithoutCommitNothingAppears) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "a");
    std::ofstream(file.temporary()) << "half";
    EXPECT_FALSE(fs::exists(folder / "a"));
  }
  EXPECT_EQ(num_entries(folder.path()), 0);
}

TEST(AtomicFile, CommitPutsItInPlace) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "a");
    std::ofstream(file.temporary()) << "whole";
    file.commit();
  }
  EXPECT_EQ(read_file(folder / "a"), "whole");
  EXPECT_EQ(num_entries(folder.path()), 1);
}

TEST(FormatBytes, IsShort) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(uint64_t{5} << 30), "5.0 GiB");
  EXPECT_EQ(format_bytes(uint64_t{3000} << 40), "3000.0 TiB");
}

}  // namespace
}  // namespace zoetrope
