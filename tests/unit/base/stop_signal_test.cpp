#include "zoetrope/base/stop_signal.h"

#include <csignal>

#include <gtest/gtest.h>
#include <unistd.h>

namespace zoetrope {
namespace {

TEST(StopSignal, IsNotedAndForgottenByTheNextOne) {
  {
    const StopSignal stop;
    EXPECT_EQ(StopSignal::received(), 0);
    std::raise(SIGTERM);
    EXPECT_EQ(StopSignal::received(), SIGTERM);
  }
  const StopSignal stop;
  EXPECT_EQ(StopSignal::received(), 0);
}

TEST(StopSignal, ASecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        const StopSignal stop;
        std::raise(SIGINT);
        usleep(600000);
        std::raise(SIGINT);
        _exit(0);
      },
      testing::ExitedWithCode(128 + SIGINT), "stopping at once");
}

TEST(StopSignal, TheSameSignalFromTwoSendersIsOne) {
  const StopSignal stop;
  std::raise(SIGTERM);
  std::raise(SIGTERM);
  EXPECT_EQ(StopSignal::received(), SIGTERM);
}

}  // namespace
}  // namespace zoetrope
