// Offline runs of the real wandb package, read back with its own reader
// (tools/reference/check_wandb.py). Skipped where Python cannot import wandb.
#include <csignal>
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/media/video_writer.h"
#include "zoetrope/tracking/wandb_tracker.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string python() {
  const char* named = std::getenv("ZOETROPE_WANDB_PYTHON");
  return named != nullptr ? named : "python3";
}

class WandbRunTest : public testing::Test {
 protected:
  void SetUp() override {
    if (run_shell(python() + " -c 'import wandb.sdk.internal.datastore'") != 0) {
      GTEST_SKIP() << python() << " cannot import wandb 0.25 (pip install --require-hashes -r "
                   << "tools/wandb.lock, or set ZOETROPE_WANDB_PYTHON)";
    }
    setenv("WANDB_MODE", "offline", 1);
    config_ =
        config::parse_yaml("training: {optimizer: {learning_rate: 1e-5}, names: [a, b]}", "test");
    write_file_atomically(folder_ / "run.yaml", "a: 1\n");
  }
  void TearDown() override { unsetenv("WANDB_MODE"); }

  int run_shell(const std::string& command) {
    return std::system((command + " > '" + (folder_ / "log").string() + "' 2>&1").c_str());
  }
  std::string check(const fs::path& folder, const std::string& options) {
    const int status =
        run_shell(python() + " '" ZOETROPE_SOURCE_DIR "/tools/reference/check_wandb.py' '" +
                  folder.string() + "' " + options);
    return read_file(folder_ / "log") + (status == 0 ? "" : "\nstatus is not 0");
  }
  WandbRun run(bool resumed) {
    return {"", "project", "name", config_, folder_ / "run.yaml", resumed};
  }

  TemporaryFolder folder_;
  config::Node config_;
};

TEST_F(WandbRunTest, KeepsWhatIsLogged) {
  const media::Frame frame(48, 64);
  media::write_video(folder_ / "a.mp4", {frame, frame}, {.fps = 8});
  {
    WandbTracker tracker(folder_ / "tracker", run(false));
    for (int step = 1; step <= 3; ++step) {
      tracker.log(step, {{"ema/decay", 0.5}});
      tracker.log(step, {{"total_loss", 1.0 / step}, {"x", std::nan("")}});
    }
    tracker.log_video(3, "validation_videos_4_steps/0", folder_ / "a.mp4", "a cat", 8.0);
    tracker.log_video(3, "validation_videos_4_steps/1", folder_ / "a.mp4", "a dog", 8.0);
    tracker.finish();
  }
  EXPECT_THAT(check(folder_ / "tracker",
                    "--project project --file run.yaml --video validation_videos_4_steps --config "
                    "training.optimizer.learning_rate=1e-5 'training.names=[\"a\", \"b\"]'"),
              AllOf(HasSubstr("name name, 3 steps, exit 0"), HasSubstr("ema/decay, total_loss"),
                    HasSubstr("2 videos, captions ['a cat', 'a dog']"), HasSubstr("OK\n")));
}

TEST_F(WandbRunTest, AResumedRunKeepsItsIdAndAFreshOneGetsANewOne) {
  for (const bool resumed : {false, true}) {
    WandbTracker tracker(folder_ / "tracker", run(resumed));
    tracker.log(1, {{"total_loss", 1.0}});
    tracker.finish();
  }
  EXPECT_THAT(check(folder_ / "tracker", "--same-run"), HasSubstr("OK\n"));
  WandbTracker(folder_ / "tracker", run(false)).finish();
  EXPECT_THAT(check(folder_ / "tracker", "--same-run"), HasSubstr("runs must have one id"));
}

TEST_F(WandbRunTest, InterruptsOfTheTerminalDoNotReachIt) {
  setpgid(0, 0);  // so that only this program and what it starts are hit
  WandbTracker tracker(folder_ / "tracker", run(false));
  const auto ignore = std::signal(SIGINT, SIG_IGN);
  kill(0, SIGINT);  // as Ctrl-C does, to the whole process group
  std::signal(SIGINT, ignore);
  tracker.log(1, {{"total_loss", 1.0}});
  tracker.finish();
  EXPECT_THAT(check(folder_ / "tracker", ""), HasSubstr("1 steps, exit 0"));
}

TEST_F(WandbRunTest, WhatWandbRefusesStopsBeforeTraining) {
  setenv("WANDB_MODE", "online", 1);
  setenv("WANDB_API_KEY", "", 1);
  setenv("WANDB_BASE_URL", "http://127.0.0.1:9", 1);
  setenv("HOME", folder_.path().c_str(), 1);
  EXPECT_THROW(WandbTracker(folder_ / "tracker", run(false)), ConfigError);
  unsetenv("WANDB_API_KEY");
  unsetenv("WANDB_BASE_URL");
}

TEST_F(WandbRunTest, ATrainingRunRecordsTheSameAsTheJsonLines) {
  const fs::path reference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";
  std::ofstream(folder_ / "train.yaml")
      << "models:\n  student: {_target_: wan, init_from: " << (reference / "_models/wan_a").string()
      << "}\nmethod: {_target_: fine_tune}\ntraining:\n  data: {data_path: "
      << (reference / "_data/t2v").string()
      << ", num_latent_t: 4, train_batch_size: 2}\n  optimizer: {learning_rate: 1.0e-3}\n  loop: "
         "{max_train_steps: 3}\n"
      << "  model: {compute_dtype: fp32}\n  tracker: {trackers: [jsonl, wandb], project_name: p}\n"
      << "  checkpoint: {output_dir: " << (folder_ / "out").string() << "}\n";
  const CommandResult result = run_zoetrope({"train", (folder_ / "train.yaml").string()});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages, HasSubstr("wandb: run "));
  EXPECT_THAT(
      check(folder_ / "out/tracker",
            "--project p --file run.yaml --config training.data.train_batch_size=2 --metrics '" +
                (folder_ / "out/metrics.jsonl").string() + "'"),
      AllOf(HasSubstr("name out, 3 steps, exit 0"), HasSubstr("metrics compared"),
            HasSubstr("OK\n")));
}

}  // namespace
}  // namespace zoetrope::test
