#include "zoetrope/base/folder_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;

TEST(FolderLock, NamesTheProcessThatHoldsTheFolder) {
  const test::TemporaryFolder folder;
  const FolderLock lock(folder / "run");
  try {
    const FolderLock second(folder / "run");
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("one process at a time, but process " +
                                        std::to_string(getpid()) + " is at work there"));
  }
}

TEST(FolderLock, IsFreeAgainAfterItsOwnerAndAfterAKilledProcess) {
  const test::TemporaryFolder folder;
  { const FolderLock lock(folder.path()); }
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const FolderLock lock(folder.path());
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const FolderLock lock(folder.path());
}

}  // namespace
}  // namespace zoetrope
