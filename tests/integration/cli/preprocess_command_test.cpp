// `zoetrope preprocess` on real video files with the tiny pipeline: rows, rejects, exit codes, and
// a kill in the middle.
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <thread>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/media/video_writer.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const char* const kPipeline = ZOETROPE_SOURCE_DIR "/assets/tiny-wan";

class PreprocessCommand : public testing::Test {
 protected:
  /// A square that moves over a background of colour `seed`.
  void write_clip(const std::string& name, int num_frames, int seed) const {
    fs::create_directories(folder_ / "in");
    std::vector<media::Frame> frames;
    for (int k = 0; k < num_frames; ++k) {
      media::Frame frame(96, 64);
      for (int y = 0; y < 64; ++y) {
        for (int x = 0; x < 96; ++x) {
          const bool inside = x >= 2 * k && x < 2 * k + 20 && y >= 20 && y < 40;
          frame.pixel(x, y)[seed % 3] = inside ? 255 : 60;
          frame.pixel(x, y)[(seed + 1) % 3] = static_cast<uint8_t>(x * 2);
        }
      }
      frames.push_back(std::move(frame));
    }
    media::write_video(folder_ / ("in/" + name + ".mp4"), frames);
    std::ofstream(folder_ / ("in/" + name + ".txt")) << "a square moves, number " << seed;
  }

  std::vector<std::string> command(const std::string& output) const {
    return {"preprocess",      (folder_ / "in").string(),
            "--output",        (folder_ / output).string(),
            "--model",         kPipeline,
            "--num-frames",    "9",
            "--height",        "32",
            "--width",         "48",
            "--rows-per-file", "2",
            "--device",        "cpu"};
  }

  std::map<std::string, std::string> files_in(const std::string& output) const {
    std::map<std::string, std::string> files;
    for (const auto& file : fs::directory_iterator(folder_ / output / "worker_0")) {
      if (file.path().filename() != ".lock") files[file.path().filename()] = read_file(file.path());
    }
    return files;
  }

  test::TemporaryFolder folder_;
};

TEST_F(PreprocessCommand, MakesRowsThatTheLoaderTakes) {
  write_clip("one", 20, 0);
  write_clip("two", 9, 1);
  write_clip("short", 5, 2);
  std::ofstream(folder_ / "in/empty.mp4").close();
  std::ofstream(folder_ / "in/empty.txt") << "nothing";
  const test::CommandResult result = test::run_zoetrope(command("out"));
  EXPECT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("4 videos in = 2 complete + 2 listed"), HasSubstr("3 rows")));
  EXPECT_THAT(read_file(folder_ / "out/worker_0/rejects.jsonl"),
              AllOf(HasSubstr("empty.mp4"), HasSubstr("short.mp4")));
  const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema("t2v"));
  ASSERT_EQ(dataset.num_rows(), 3);
  for (int64_t index = 0; index < 3; ++index) {
    const ParquetRow row = dataset.read(index);
    EXPECT_EQ(row.tensors.at("vae_latent").sizes(), (at::IntArrayRef{16, 3, 4, 6}));
    EXPECT_EQ(row.integers.at("num_frames"), 3);
    EXPECT_EQ(row.tensors.at("text_embedding").dim(), 2);
    EXPECT_LT(row.tensors.at("text_embedding").size(0), 40);
  }
  EXPECT_TRUE(at::equal(dataset.read(0).tensors.at("text_embedding"),
                        dataset.read(1).tensors.at("text_embedding")));
}

TEST_F(PreprocessCommand, FailsWhenEverythingIsRejected) {
  std::ofstream(folder_ / "list.csv") << "path,caption\nabsent.mp4,gone\nother.mp4,\n";
  std::vector<std::string> arguments = command("out");
  arguments[1] = (folder_ / "list.csv").string();
  const test::CommandResult result = test::run_zoetrope(arguments);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("2 videos in = 0 complete + 2 listed"));
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("all 2 videos were rejected"), HasSubstr("absent.mp4")));
}

TEST_F(PreprocessCommand, NamesWrongOptions) {
  write_clip("one", 9, 0);
  const auto messages = [&](const std::string& option, const std::string& value) {
    std::vector<std::string> arguments = command("out");
    arguments.push_back(option);
    arguments.push_back(value);
    const test::CommandResult result = test::run_zoetrope(arguments);
    EXPECT_EQ(result.exit_code, 1) << option;
    return result.messages;
  };
  EXPECT_THAT(messages("--buckets", "32x50"), HasSubstr("multiples of 16"));
  EXPECT_THAT(messages("--shard", "2/2"), HasSubstr("--shard"));
  std::vector<std::string> arguments = command("out");
  arguments[7] = "10";
  EXPECT_THAT(test::run_zoetrope(arguments).messages,
              HasSubstr("--num-frames: must be 1 + a multiple of 4"));
  arguments = command("out");
  arguments[5] = (folder_ / "absent").string();
  EXPECT_THAT(test::run_zoetrope(arguments).messages, HasSubstr("absent"));
  EXPECT_FALSE(fs::exists(folder_ / "out")) << "a faulty command left a folder";
}

TEST_F(PreprocessCommand, TextsAlone) {
  std::ofstream(folder_ / "prompts.txt") << "a red ball\nein blauer Würfel\n";
  const test::CommandResult result = test::run_zoetrope(
      {"preprocess", (folder_ / "prompts.txt").string(), "-o", (folder_ / "out").string(), "-m",
       kPipeline, "--text-only", "--device", "cpu"});
  EXPECT_EQ(result.exit_code, 0) << result.messages;
  const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema("text_only"));
  EXPECT_EQ(dataset.num_rows(), 2);
  EXPECT_EQ(dataset.read(1).text("caption"), "ein blauer Würfel");
}

TEST_F(PreprocessCommand, GoesOnAfterAKillAndRefusesASecondProcessUntilThen) {
  for (int i = 0; i < 8; ++i) write_clip("clip" + std::to_string(i), 30, i);
  ASSERT_EQ(test::run_zoetrope(command("whole")).exit_code, 0);
  const auto expected = files_in("whole");
  ASSERT_TRUE(expected.contains("data_chunk_11.parquet"));

  for (int round = 0; round < 3; ++round) {
    const pid_t child = test::start_zoetrope(command("killed"));
    const fs::path awaited =
        folder_ / ("killed/worker_0/data_chunk_" + std::to_string(3 * round) + ".parquet");
    for (int tick = 0; tick < 3000 && !fs::exists(awaited); ++tick) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (round == 0) {
      kill(child, SIGSTOP);
      const test::CommandResult second = test::run_zoetrope(command("killed"));
      EXPECT_EQ(second.exit_code, 1);
      EXPECT_THAT(second.messages, HasSubstr(fmt::format("process {} is at work there", child)));
    }
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ASSERT_TRUE(fs::exists(awaited));
  }
  const test::CommandResult result = test::run_zoetrope(command("killed"));
  EXPECT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages, HasSubstr("going on after"));
  EXPECT_EQ(files_in("killed"), expected);
}

}  // namespace
}  // namespace zoetrope
