#include "zoetrope/tracking/trackers.h"

#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/file_size_limit.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/tracking/console_tracker.h"
#include "zoetrope/tracking/jsonl_tracker.h"

namespace zoetrope {
namespace {

using test::FileSizeLimit;
using test::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<nlohmann::json> read_lines(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(JsonlTracker, WritesALineAtOnce) {
  const TemporaryFolder folder;
  JsonlTracker tracker(folder / "metrics.jsonl");
  tracker.log(3, {{"total_loss", 0.1}, {"grad_norm/student", std::nan("")}, {"x", -HUGE_VAL}});
  tracker.log_text(3, "config", "a: \"b\"\n");
  tracker.log_image(4, "samples", "runs/sheet.png");
  tracker.log_video(4, "videos", "runs/a.mp4", "caf\xe9", 16.0);
  const auto lines = read_lines(folder / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0],
            (nlohmann::json{
                {"step", 3}, {"total_loss", 0.1}, {"grad_norm/student", "nan"}, {"x", "-inf"}}));
  EXPECT_EQ(lines[1]["value"], "a: \"b\"\n");
  EXPECT_EQ(lines[2]["path"], "runs/sheet.png");
  EXPECT_EQ(lines[3]["fps"], 16.0);
}

TEST(JsonlTracker, GoesOnAfterATornLine) {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  JsonlTracker(path).log(1, {{"total_loss", 2.0}});
  std::ofstream(path, std::ios::app) << R"({"step": 2, "total_lo)";
  JsonlTracker(path).log(2, {{"total_loss", 1.0}});
  const auto lines = read_lines(path);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["total_loss"], 2.0);
  EXPECT_EQ(lines[1]["total_loss"], 1.0);
}

TEST(JsonlTracker, TakesBackTheStepsThatComeAgain) {
  const TemporaryFolder folder;
  JsonlTracker tracker(folder / "metrics.jsonl");
  for (int step = 1; step <= 5; ++step) tracker.log(step, {{"total_loss", 1.0 * step}});
  tracker.log_video(5, "videos", "runs/a.mp4", "a", 16.0);
  tracker.resume_at(3);
  tracker.log(4, {{"total_loss", 40.0}});
  const auto lines = read_lines(folder / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[2]["total_loss"], 3.0);
  EXPECT_EQ(lines[3]["total_loss"], 40.0);
}

TEST(JsonlTracker, SaysWhenTheDiskIsFull) {
  const TemporaryFolder folder;
  JsonlTracker tracker(folder / "metrics.jsonl");
  const FileSizeLimit limit(64);
  try {
    for (int step = 0; step < 10; ++step) tracker.log(step, {{"total_loss", 2.0}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("metrics.jsonl"), HasSubstr("File too large")));
  }
}

std::vector<Metric> step_metrics(double loss) {
  return {{"total_loss", loss},       {"lr/student", 1e-4},
          {"grad_norm/student", 0.5}, {"grad_norm/student/head", 0.25},
          {"step_time_sec", 2.0},     {"data_wait_sec", 0.5},
          {"samples_per_sec", 4.0},   {"tokens_per_sec", 12345.0}};
}

TEST(ConsoleTracker, PrintsFirstAndLastStepElsewhereThanOnATerminal) {
  ConsoleTracker tracker(100);
  ::testing::internal::CaptureStderr();
  for (int step = 1; step <= 100; ++step) tracker.log(step, step_metrics(1.0 / step));
  tracker.finish();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, AllOf(HasSubstr("step 1/100  loss 1.0000  "),
                          HasSubstr("step 100/100  loss 0.0100  ")));
  EXPECT_THAT(text, AllOf(HasSubstr("lr/student 0.0001"), HasSubstr("grad_norm/student 0.5"),
                          HasSubstr("2 s/step"), HasSubstr("4 samples/s"),
                          HasSubstr("12.3k tokens/s"), HasSubstr("data wait 25.0%")));
  EXPECT_THAT(text, Not(HasSubstr("head")));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(ConsoleTracker, PrintsValidationMetrics) {
  ConsoleTracker tracker(100);
  ::testing::internal::CaptureStderr();
  tracker.log(5, {{"validation/loss", 0.125}});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "step 5 validation:  loss 0.125\n");
}

TEST(MakeTrackers, MakesWhatIsNamed) {
  const TemporaryFolder folder;
  TrackerConfig config;
  config.trackers = {"jsonl", "tensorboard"};
  {
    const auto tracker = make_trackers(config, {folder.path(), 10, {}, {}, false});
    tracker->log(1, {{"total_loss", 1.0}});
    tracker->finish();
  }
  EXPECT_EQ(read_lines(folder / "metrics.jsonl").size(), 1U);
  EXPECT_FALSE(std::filesystem::is_empty(folder / "tensorboard"));
}

TEST(MakeTrackers, NoneRecordsNothing) {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& names : {std::vector<std::string>{}, {"none"}}) {
    TrackerConfig config;
    config.trackers = names;
    ::testing::internal::CaptureStderr();
    const auto tracker = make_trackers(config, {folder.path(), 10, {}, {}, false});
    tracker->log(1, step_metrics(1.0));
    tracker->log_text(1, "config", "text");
    tracker->finish();
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), IsEmpty());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(MakeTrackers, SaysWhatIsNotBuilt) {
  const TemporaryFolder folder;
  TrackerConfig config;
  config.trackers = {"swanlab"};
  try {
    make_trackers(config, {folder.path(), 10, {}, {}, false});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'swanlab' is not built yet"));
  }
}

TEST(TrackerConfig, AnEmptyListWithAProjectMeansWandb) {
  TrackerConfig config;
  config.trackers = {};
  config.resolve();
  EXPECT_THAT(config.trackers, ElementsAre("wandb"));
  config.trackers = {};
  config.project_name = "";
  config.resolve();
  EXPECT_THAT(config.trackers, IsEmpty());
}

}  // namespace
}  // namespace zoetrope
