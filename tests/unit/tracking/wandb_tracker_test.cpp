// The tracker against stand-ins for Python: shell scripts that speak the helper's side of the
// socket, well or badly. tests/integration/cli/wandb_run_test.cpp uses the real package.
#include "zoetrope/tracking/wandb_tracker.h"

#include <chrono>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/tracking/wandb_queue.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr const char* kStart =
    R"(printf '%s\n' '{"event": "imported", "message": "1.0"}' >&3
read -r init <&3
printf '%s\n' "$init" > "$(dirname "$0")/records"
printf '%s\n' '{"event": "started", "message": "run abc"}' >&3
)";
constexpr const char* kRecordAll =
    R"(while read -r line; do
  printf '%s\n' "$line" >> "$(dirname "$0")/records"
  case $line in *'"finish"'*) break ;; esac
done <&3
printf '%s\n' '{"event": "finished", "message": ""}' >&3
)";

TEST(WandbQueue, DropsTheOldestMetricsFirst) {
  WandbQueue queue(3);
  queue.push("video", false);
  for (const char* line : {"1", "2", "3", "4"}) queue.push(line, true);
  queue.push_last("finish");
  queue.push("late", true);
  for (const char* line : {"video", "3", "4", "finish", ""}) EXPECT_EQ(queue.take(), line);
  EXPECT_EQ(queue.num_dropped(), 2);
}

TEST(WandbQueue, DropsTheNewestOfWhatMayNotBeDropped) {
  WandbQueue queue(2);
  for (const char* line : {"a", "b", "c"}) queue.push(line, false);
  for (const char* line : {"a", "b", ""}) EXPECT_EQ(queue.take(), line);
  EXPECT_EQ(queue.num_dropped(), 1);
}

class WandbTrackerTest : public ::testing::Test {
 protected:
  // A program that is started as `python -c SCRIPT`.
  WandbOptions python(const std::string& script) {
    const fs::path path = folder_ / "python";
    std::ofstream(path) << "#!/bin/bash\n" << script;
    fs::permissions(path, fs::perms::owner_all);
    WandbOptions options;
    options.python = path.string();
    return options;
  }

  std::string start_error(const WandbOptions& options) {
    try {
      const WandbTracker tracker(folder_ / "tracker", {}, options);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  std::vector<nlohmann::json> records() {
    std::ifstream stream(folder_ / "records");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(stream, line);)
      lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  TemporaryFolder folder_;
};

TEST_F(WandbTrackerTest, SendsEverythingInOrder) {
  WandbRun run{"team",
               "project",
               "name",
               config::parse_yaml("a: {b: 1e-5, c: [x, 2]}", "test"),
               folder_ / "run.yaml",
               true};
  ::testing::internal::CaptureStderr();
  {
    WandbTracker tracker(folder_ / "tracker", run, python(std::string(kStart) + kRecordAll));
    tracker.log(1, {{"total_loss", 0.5}, {"x", std::nan("")}});
    tracker.log_text(1, "note", "a\nb");
    tracker.log_image(2, "sheet", folder_ / "a.png");
    tracker.log_video(2, "videos/0", folder_ / "a.mp4", "caf\xe9", 16.0);
    tracker.finish();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "wandb: run abc\n");
  const auto lines = records();
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0]["project"], "project");
  EXPECT_EQ(lines[0]["config"], nlohmann::json::parse(R"({"a": {"b": 1e-5, "c": ["x", 2]}})"));
  EXPECT_EQ(lines[0]["resumed"], true);
  EXPECT_EQ(lines[1],
            nlohmann::json::parse(
                R"({"type": "metrics", "step": 1, "values": {"total_loss": 0.5, "x": "nan"}})"));
  EXPECT_EQ(lines[2]["text"], "a\nb");
  EXPECT_EQ(lines[3]["path"], (folder_ / "a.png").string());
  EXPECT_EQ(lines[4]["caption"], "caf\xef\xbf\xbd");
  EXPECT_EQ(lines[5], nlohmann::json::parse(R"({"type": "finish", "exit_code": 0})"));
}

TEST_F(WandbTrackerTest, ARunThatIsNotFinishedHasFailed) {
  { const WandbTracker tracker(folder_ / "tracker", {}, python(std::string(kStart) + kRecordAll)); }
  EXPECT_EQ(records().back()["exit_code"], 1);
}

TEST_F(WandbTrackerTest, SaysHowToInstallWhatIsMissing) {
  EXPECT_THAT(start_error(python("exit 3")),
              AllOf(HasSubstr("ended with exit status 3"), HasSubstr("pip install wandb"),
                    HasSubstr("helper.log")));
  EXPECT_THAT(
      start_error(python(R"(printf '%s\n' '{"event": "missing", "message": "No module"}' >&3)")),
      AllOf(HasSubstr("but No module; "), HasSubstr("./zt train")));
  WandbOptions options;
  options.python = (folder_ / "nothing").string();
  EXPECT_THAT(start_error(options), HasSubstr("cannot be started: No such file"));
}

TEST_F(WandbTrackerTest, SaysWhyARunCannotStart) {
  const std::string error = start_error(python(
      R"(printf '%s\n' '{"event": "imported", "message": ""}' '{"event": "failed", "message": "no key"}' >&3)"));
  EXPECT_THAT(error, AllOf(HasSubstr("but says no key"), HasSubstr("WANDB_MODE=offline")));
}

TEST_F(WandbTrackerTest, GoesOnWhenTheHelperDies) {
  ::testing::internal::CaptureStderr();
  WandbTracker tracker(folder_ / "tracker", {}, python(std::string(kStart) + "exit 7"));
  for (int step = 0; step < 20000; ++step) tracker.log(step, {{"total_loss", 1.0}});
  tracker.finish();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("ended unexpectedly (exit status 7); training goes on"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
}

TEST_F(WandbTrackerTest, NeverWaitsForAHelperThatHangs) {
  WandbOptions options = python(std::string(kStart) + "exec sleep 600");
  options.max_waiting_records = 100;
  options.finish_timeout = std::chrono::seconds(1);
  ::testing::internal::CaptureStderr();
  const auto start = Clock::now();
  WandbTracker tracker(folder_ / "tracker", {}, options);
  for (int step = 0; step < 50000; ++step) tracker.log(step, {{"total_loss", 1.0}});
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
  tracker.finish();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(6));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("waiting for what is not sent yet, 1 s at most"),
                    HasSubstr("stopped before everything was sent"),
                    HasSubstr("records were dropped, the oldest first")));
}

TEST_F(WandbTrackerTest, SaysAFewProblemsOnly) {
  const std::string problems =
      "for i in 1 2 3 4 5; do printf '{\"event\": \"problem\", \"message\": \"p%d\"}\\n' $i >&3; "
      "done\n"
      "echo garbage >&3\n";
  ::testing::internal::CaptureStderr();
  WandbTracker tracker(folder_ / "tracker", {}, python(kStart + problems + kRecordAll));
  tracker.finish();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "wandb: run abc\nwandb: p1\nwandb: p2\nwandb: p3\n");
}

}  // namespace
}  // namespace zoetrope
