// The launcher with shell scripts as ranks: variables, logs, failures, restarts, signals.
#include "zoetrope/distributed/launcher.h"

#include <csignal>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <unistd.h>

#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/distributed/rank_process.h"

namespace zoetrope {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

class LauncherTest : public testing::Test {
 protected:
  LaunchOptions options(const std::string& script, int64_t num_ranks) {
    LaunchOptions options;
    options.num_local_ranks = num_ranks;
    options.log_dir = folder_ / "logs";
    options.program = "/bin/sh";
    // What follows the script are its arguments.
    options.arguments = {"-c", script, "rank"};
    options.restart_arguments = {"again"};
    options.grace = milliseconds(500);
    return options;
  }
  std::string log(int64_t attempt, int64_t rank) {
    return read_file(folder_ / fmt::format("logs/{}/rank_{}.log", attempt, rank));
  }
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  test::TemporaryFolder folder_;
};

TEST_F(LauncherTest, GivesEachRankTheVariablesOfTorchrun) {
  LaunchOptions two = options(
      "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR "
      "$TORCHELASTIC_USE_AGENT_STORE $TORCHELASTIC_RESTART_COUNT $# threads=$OMP_NUM_THREADS",
      2);
  EXPECT_EQ(launch(two), 0);
  EXPECT_THAT(log(0, 0), HasSubstr("0/2 0/2 127.0.0.1 True 0 0 threads="));
  EXPECT_THAT(log(0, 1), AllOf(HasSubstr("1/2 1/2"), Not(HasSubstr("threads=\n"))));
}

TEST_F(LauncherTest, PrintsWhatRank0Prints) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(launch(options("echo hello from $RANK", 2)), 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "hello from 0\n");
  EXPECT_EQ(log(0, 1), "hello from 1\n");
}

TEST_F(LauncherTest, OneFailureStopsAllWithItsLog) {
  const auto start = Clock::now();
  const std::string error = test::error_of([&] {
    launch(options("if [ $RANK = 1 ]; then echo no such file; exit 3; fi; sleep 60", 3));
  });
  EXPECT_LT(seconds_since(start), 3.0);
  EXPECT_EQ(error, fmt::format("rank 1 ended with exit status 3; {}:\n    no such file",
                               (folder_ / "logs/0/rank_1.log").string()));
}

TEST_F(LauncherTest, TheOtherRanksMayEndOrderly) {
  test::error_of([&] {
    launch(
        options("trap 'echo left; exit 0' TERM; echo up; "
                "if [ $RANK = 1 ]; then sleep 0.5; exit 3; fi; sleep 60 & wait",
                2));
  });
  EXPECT_EQ(log(0, 0), "up\nleft\n");
}

TEST_F(LauncherTest, RanksThatIgnoreTheEndAreKilled) {
  const auto start = Clock::now();
  const std::string error = test::error_of([&] {
    launch(
        options("if [ $RANK = 0 ]; then sleep 0.2; kill -9 $$; fi; trap '' TERM; "
                "while true; do sleep 0.1; done",
                2));
  });
  EXPECT_LT(seconds_since(start), 4.0);
  EXPECT_THAT(error, AllOf(HasSubstr("rank 0 ended with signal 9 (Killed)"),
                           HasSubstr("(it printed nothing)")));
}

TEST_F(LauncherTest, StartsAllAgainWithTheArgumentsOfARestart) {
  LaunchOptions again = options("echo start $TORCHELASTIC_RESTART_COUNT $*; [ $# = 1 ]", 2);
  again.max_restarts = 2;
  EXPECT_EQ(launch(again), 0);
  EXPECT_EQ(log(0, 0), "start 0\n");  // rank 1 may have been stopped before that
  EXPECT_EQ(log(1, 1), "start 1 again\n");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "logs/2"));
}

TEST_F(LauncherTest, FailsWhenNoRestartIsLeft) {
  LaunchOptions again = options("exit 7", 1);
  again.max_restarts = 1;
  EXPECT_THAT(test::error_of([&] { launch(again); }), HasSubstr("exit status 7"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "logs/1/rank_0.log"));
}

TEST_F(LauncherTest, ASignalIsPassedOnAndWaitedFor) {
  const StopSignal watching;
  std::thread later([] {
    std::this_thread::sleep_for(milliseconds(300));
    kill(getpid(), SIGTERM);
  });
  const int status =
      launch(options("trap 'sleep 0.3; echo saved; exit 143' TERM; sleep 60 & wait", 2));
  later.join();
  EXPECT_EQ(status, 143);
  EXPECT_EQ(log(0, 0), "saved\n");
  EXPECT_EQ(log(0, 1), "saved\n");
}

TEST_F(LauncherTest, LogsOfEarlierStartsAreKept) {
  EXPECT_EQ(launch(options("echo first", 1)), 0);
  EXPECT_THAT(test::error_of([&] { launch(options("echo second; exit 1", 1)); }),
              AllOf(HasSubstr("second"), Not(HasSubstr("first"))));
  EXPECT_EQ(log(0, 0), "first\nsecond\n");
}

// Two launchers as threads, as if on two machines.
TEST_F(LauncherTest, MachinesRunRestartAndEndTogether) {
  const std::string script =
      "echo $RANK of $WORLD_SIZE, $LOCAL_RANK here, start $#; "
      "if [ $RANK = 3 -a $# = 0 ]; then exit 5; fi; if [ $# = 0 ]; then sleep 60; fi";
  int64_t port = 0;
  { port = host_store({"127.0.0.1", 0}).port; }
  std::vector<std::thread> machines;
  for (int64_t node = 0; node < 2; ++node) {
    machines.emplace_back([&, node] {
      LaunchOptions machine = options(script, 2);
      machine.num_nodes = 2;
      machine.node_rank = node;
      machine.rendezvous.port = port;
      machine.max_restarts = 1;
      EXPECT_EQ(launch(machine), 0);
    });
  }
  for (std::thread& machine : machines) machine.join();
  EXPECT_EQ(log(0, 2), "2 of 4, 0 here, start 0\n");
  for (int64_t rank = 0; rank < 4; ++rank) EXPECT_THAT(log(1, rank), HasSubstr("start 1")) << rank;
}

TEST(RankProcess, DiesWithTheProcessThatStartedIt) {
  const test::TemporaryFolder folder;
  const std::string pid_file = (folder / "pid").string();
  const pid_t starter = fork();
  ASSERT_GE(starter, 0);
  if (starter == 0) {
    const RankProcess child(
        {"/bin/sh", {"-c", "echo $$ > " + pid_file + "; exec sleep 60"}, {}, folder / "log"});
    while (read_file(folder / "log").empty() && !std::filesystem::exists(pid_file))
      std::this_thread::sleep_for(milliseconds(10));
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(starter, &status, 0);
  pid_t child = 0;
  std::ifstream(pid_file) >> child;
  ASSERT_GT(child, 0);
  for (int i = 0; i < 100 && kill(child, 0) == 0; ++i)
    std::this_thread::sleep_for(milliseconds(20));
  EXPECT_NE(kill(child, 0), 0) << "must have died with its starter";
}

TEST(RankProcess, SaysWhatCannotBeWrittenOrRun) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(test::error_of([&] {
                RankProcess({"/bin/sh", {}, {}, folder / "absent/log"});
              }),
              HasSubstr("must be a file that can be written, but: No such file or directory"));
  RankProcess absent({"/no/such/program", {}, {}, folder / "log"});
  while (!absent.poll()) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(absent.describe_end(), "exit status 127");
}

}  // namespace
}  // namespace zoetrope
