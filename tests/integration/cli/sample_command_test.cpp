// `zoetrope sample` with the tiny pipeline that the project carries.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/media/video_reader.h"
#include "zoetrope/model_sampler.h"
#include "zoetrope/pipelines/video_output.h"

namespace zoetrope::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kTinyWan = std::string(ZOETROPE_SOURCE_DIR) + "/assets/tiny-wan";

namespace fs = std::filesystem;

class SampleCommand : public testing::Test {
 protected:
  CommandResult sample(const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {
        "sample", model_.string(), "--prompt", "a red square", "--height",
        "16",     "--width",       "32",       "--output",     (folder_ / "out").string()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_zoetrope(arguments);
  }

  /// Of a run that must succeed.
  std::vector<media::Frame> frames_of(const std::vector<std::string>& options) {
    const CommandResult result = sample(options);
    EXPECT_EQ(result.exit_code, 0) << result.messages;
    return media::read_all_frames(folder_ / "out/video_0.mp4");
  }

  /// From now on a copy of the model is sampled, one of whose JSON files has `keys`, too.
  void change_model(const std::string& file, const nlohmann::json& keys) {
    fs::remove_all(folder_ / "model");
    fs::copy(kTinyWan, folder_ / "model", fs::copy_options::recursive);
    model_ = folder_ / "model";
    auto json = nlohmann::json::parse(read_file(model_ / file));
    json.update(keys);
    write_file_atomically(model_ / file, json.dump());
  }

  void expect_refused(const std::vector<std::string>& options, const std::string& message) {
    const CommandResult result = sample(options);
    EXPECT_NE(result.exit_code, 0);
    EXPECT_THAT(result.messages, HasSubstr(message));
  }

  TemporaryFolder folder_;
  fs::path model_ = kTinyWan;
};

TEST_F(SampleCommand, StreamsLongerThanTheWindowAndSaysHowFast) {
  const CommandResult result =
      sample({"--pipeline", "wan-causal-dmd", "--steps", "1000,500", "--warp", "--num-frames", "45",
              "--frames-per-block", "2", "--local-attn-size", "4", "--sink-size", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("45 frames, the first after "), HasSubstr("frames/s")));
  EXPECT_EQ(media::read_all_frames(folder_ / "out/video_0.mp4").size(), 45U);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/sheet.png"));
}

TEST_F(SampleCommand, BlocksAndWindowAreTheModelsUnlessTheyAreGiven) {
  const std::vector<std::string> causal = {"--pipeline", "wan-causal-dmd", "--steps",
                                           "1000,500",   "--num-frames",   "29"};
  const auto with = [&](std::vector<std::string> options) {
    options.insert(options.begin(), causal.begin(), causal.end());
    return frames_of(options);
  };
  const std::vector<std::string> flags = {"--frames-per-block", "2", "--local-attn-size", "4",
                                          "--sink-size",        "1"};
  const auto by_flags = with(flags);
  const auto unbounded = with({"--frames-per-block", "2"});
  ASSERT_NE(by_flags, unbounded);
  change_model("transformer/config.json",
               {{"num_frames_per_block", 2}, {"local_attn_size", 4}, {"sink_size", 1}});
  EXPECT_EQ(with({}), by_flags);
  EXPECT_EQ(with({"--local-attn-size", "-1"}), unbounded);
  change_model("transformer/config.json",
               {{"num_frames_per_block", 1}, {"local_attn_size", 3}, {"sink_size", 0}});
  EXPECT_EQ(with(flags), by_flags);
}

TEST_F(SampleCommand, FewSteps) {
  const CommandResult result =
      sample({"--pipeline", "wan-dmd", "--steps", "1000,500", "--num-frames", "5"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_EQ(media::read_all_frames(folder_ / "out/video_0.mp4").size(), 5U);
}

TEST_F(SampleCommand, TheFlowShiftIsTheModelsUnlessItIsGiven) {
  const std::vector<std::vector<std::string>> samplings = {
      {"--num-frames", "5", "--steps", "3", "--guidance-scale", "1"},
      {"--num-frames", "5", "--pipeline", "wan-dmd", "--steps", "1000,500", "--warp"}};
  for (const std::vector<std::string>& sampling : samplings) {
    const auto with_shift = [&](const std::string& shift) {
      std::vector<std::string> options = sampling;
      options.insert(options.end(), {"--flow-shift", shift});
      return frames_of(options);
    };
    model_ = kTinyWan;
    const auto three = with_shift("3");
    const auto five = with_shift("5");
    ASSERT_NE(three, five);
    EXPECT_EQ(frames_of(sampling), three);
    change_model("scheduler/scheduler_config.json", {{"flow_shift", 5.0}});
    EXPECT_EQ(frames_of(sampling), five);
    EXPECT_EQ(with_shift("3"), three);
  }
  expect_refused({"--flow-shift", "0"}, "--flow-shift");
}

TEST_F(SampleCommand, TheNegativePromptSteersAGuidedVideo) {
  const auto with = [&](const std::string& scale, const std::string& negative) {
    return frames_of({"--num-frames", "5", "--steps", "2", "--guidance-scale", scale,
                      "--negative-prompt", negative});
  };
  EXPECT_NE(with("5", "a blue circle moving down"), with("5", "grey"));
  EXPECT_EQ(with("1", "a blue circle moving down"), with("1", "grey"));
}

TEST_F(SampleCommand, TheSamplerMakesADifference) {
  std::vector<std::string> options = {"--num-frames", "5", "--steps", "3", "--guidance-scale", "1"};
  const auto unless_given = frames_of(options);
  options.insert(options.end(), {"--sampler", "unipc"});
  const auto unipc = frames_of(options);
  options.back() = "euler";
  EXPECT_NE(frames_of(options), unipc);
  EXPECT_EQ(unless_given, unipc);
}

TEST_F(SampleCommand, AVideoIsWrittenWhileItIsMade) {
  ModelSamplerOptions options;
  options.model = kTinyWan;
  options.device = "cpu";
  options.choices.pipeline = "wan-causal-dmd";
  options.choices.steps = {1000, 500};
  options.choices.frames_per_block = 2;
  options.video.num_frames = 21;
  options.video.num_height = 16;
  options.video.num_width = 32;
  ModelSampler sampler(options);
  VideoOutput output(folder_ / "video.mp4", 21, 3, 16.0);
  std::vector<std::string> events;
  sampler.sample(
      {"a red square", 0},
      [&](const std::vector<media::Frame>& frames) {
        output.add(frames);
        EXPECT_FALSE(fs::is_empty(folder_.path())) << "the unfinished file";
        events.push_back(fmt::format("{} frames", frames.size()));
      },
      [&](int64_t done, int64_t total) { events.push_back(fmt::format("{}/{}", done, total)); });
  EXPECT_THAT(events, ElementsAre("1/6", "2/6", "5 frames", "3/6", "4/6", "8 frames", "5/6", "6/6",
                                  "8 frames"));
  EXPECT_EQ(output.finish().size(), 3U);
  EXPECT_EQ(media::read_all_frames(folder_ / "video.mp4").size(), 21U);
}

TEST_F(SampleCommand, OptionsOfOtherPipelinesAreRefused) {
  expect_refused({"--steps", "1000,500"}, "--steps: must be one number for --pipeline wan");
  expect_refused({"--warp"}, "--warp: must be left out unless --pipeline is wan-dmd");
  expect_refused({"--pipeline", "wan-dmd", "--guidance-scale", "3"},
                 "--guidance-scale: must be left out unless --pipeline is wan or wan-causal");
  expect_refused({"--pipeline", "wan-dmd", "--local-attn-size", "4"},
                 "--local-attn-size: must be left out unless --pipeline is wan-causal");
  expect_refused({"--pipeline", "wan-dmd", "--steps", "500,1000"},
                 "--steps: must be a list of descending timesteps");
  expect_refused({"--pipeline", "wan-dmdd"}, "wan-causal-dmd");
}

TEST_F(SampleCommand, AWindowTooSmallForItsBlocksIsRefused) {
  expect_refused({"--pipeline", "wan-causal", "--num-frames", "5", "--frames-per-block", "3",
                  "--local-attn-size", "2"},
                 "local_attn_size must hold the sinks and a block");
}

TEST_F(SampleCommand, AVideoBeyondTheKnownPositionsIsRefusedBeforeAnythingIsSampled) {
  for (const std::string pipeline : {"wan", "wan-causal", "wan-causal-dmd"}) {
    expect_refused({"--pipeline", pipeline, "--num-frames", "4101"},
                   "--num-frames: must be at most 4093, since the network knows the positions of "
                   "1024 latent frames (rope_max_seq_len), but is 4101");
  }
  expect_refused({"--pipeline", "wan-causal-dmd", "--num-frames", "4101", "--local-attn-size", "4",
                  "--frames-per-block", "2"},
                 "--num-frames: must be at most 4093");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(SampleCommand, PositionsThatGoRoundInTheWindowHaveNoEnd) {
  const std::vector<std::string> long_video = {"--pipeline",
                                               "wan-causal-dmd",
                                               "--steps",
                                               "1000",
                                               "--num-frames",
                                               "45",
                                               "--frames-per-block",
                                               "2",
                                               "--local-attn-size",
                                               "4"};
  change_model("transformer/config.json", {{"rope_max_seq_len", 6}});
  expect_refused(long_video, "--num-frames: must be at most 21");
  change_model("transformer/config.json",
               {{"rope_max_seq_len", 6}, {"rope_cache_policy", "relativistic"}});
  const CommandResult result = sample(long_video);
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_EQ(media::read_all_frames(folder_ / "out/video_0.mp4").size(), 45U);
  expect_refused({"--pipeline", "wan-causal-dmd", "--num-frames", "45"},
                 "--num-frames: must be at most 21");
}

}  // namespace
}  // namespace zoetrope::test
