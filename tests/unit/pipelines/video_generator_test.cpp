// Videos from prompts with the tiny pipeline that the project carries: frames come with their
// blocks, and the times are measured.
#include "zoetrope/pipelines/video_generator.h"

#include <chrono>
#include <thread>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/media/video_reader.h"
#include "zoetrope/pipelines/video_output.h"

namespace zoetrope::test {
namespace {

using testing::ElementsAre;

constexpr std::chrono::milliseconds kNetworkTime(5);

/// Every call takes at least kNetworkTime.
StreamingNetwork slow_network() {
  StreamingNetwork network;
  network.num_frames_per_block = 2;
  network.start_clip = [] {};
  network.velocity = [](const at::Tensor& noisy, const at::Tensor&, const Conditioning&,
                        const ChunkOptions&) {
    std::this_thread::sleep_for(kNetworkTime);
    return 0.5 * noisy;
  };
  return network;
}

class VideoGeneratorTest : public testing::Test {
 protected:
  VideoGeneratorTest() {
    options_.num_frames = 21;
    options_.num_height = 16;
    options_.num_width = 32;
    options_.sampling.guidance_scale = 1.0;
    FlowMatchSchedule schedule = make_training_schedule(3.0, at::kCPU);
    std::vector<at::Tensor> timesteps = denoising_timesteps({1000, 500}, false, schedule, "steps");
    options_.sampling.few_step = {.schedule = schedule, .timesteps = timesteps};
  }

  std::vector<media::Frame> stream(const VideoRequest& request) {
    std::vector<media::Frame> all;
    sizes_.clear();
    timing_ = generator_.stream(slow_network(), request, options_,
                                [&](const std::vector<media::Frame>& frames) {
                                  sizes_.push_back(frames.size());
                                  all.insert(all.end(), frames.begin(), frames.end());
                                });
    return all;
  }

  VideoGenerator generator_{std::filesystem::path(ZOETROPE_SOURCE_DIR) / "assets/tiny-wan",
                            at::kCPU};
  VideoOptions options_;
  std::vector<size_t> sizes_;
  VideoTiming timing_;
};

TEST_F(VideoGeneratorTest, FramesComeBlockByBlockAndAreTimed) {
  const std::vector<media::Frame> frames = stream({"a red square", 0});
  // Blocks of two latent frames: 1 + 4 frames, then 8 each.
  EXPECT_THAT(sizes_, ElementsAre(5, 8, 8));
  EXPECT_EQ(timing_.num_frames, 21);
  const double network_sec = std::chrono::duration<double>(kNetworkTime).count();
  EXPECT_GE(timing_.first_frame_sec, 2 * network_sec);
  // Four more denoising steps and two commits come after the first frames.
  EXPECT_GE(timing_.total_sec - timing_.first_frame_sec, 6 * network_sec);
  EXPECT_DOUBLE_EQ(timing_.frames_per_sec(), 21 / timing_.total_sec);
}

TEST_F(VideoGeneratorTest, TheRequestNamesTheNoise) {
  const std::vector<media::Frame> frames = stream({"a red square", 0});
  EXPECT_EQ(frames, stream({"a red square", 0}));
  EXPECT_NE(frames, stream({"a red square", 1}));
  options_.seed = 1;
  EXPECT_NE(frames, stream({"a red square", 0}));
}

TEST_F(VideoGeneratorTest, ABidirectionalNetworkGivesAllFramesAtOnce) {
  const DenoisingNetwork velocity = [](const at::Tensor& noisy, const at::Tensor&,
                                       const Conditioning&) { return 0.5 * noisy; };
  const VideoTiming timing = generator_.generate(
      velocity, {"a red square", 0}, options_,
      [&](const std::vector<media::Frame>& frames) { sizes_.push_back(frames.size()); });
  EXPECT_THAT(sizes_, ElementsAre(21));
  EXPECT_EQ(timing.num_frames, 21);
  EXPECT_GT(timing.first_frame_sec, 0.0);
  EXPECT_LE(timing.first_frame_sec, timing.total_sec);
}

TEST_F(VideoGeneratorTest, ActionsReachTheNetworkAsOneRow) {
  options_.has_text = false;
  at::Tensor seen_BFK;
  const DenoisingNetwork velocity = [&](const at::Tensor& noisy, const at::Tensor&,
                                        const Conditioning& conditions) {
    seen_BFK = conditions.keyboard_BFK;
    EXPECT_FALSE(conditions.text_embedding_BLD.defined());
    EXPECT_FALSE(conditions.mouse_BF2.defined());
    return 0.5 * noisy;
  };
  VideoRequest request{"", 0};
  request.keyboard_FK = at::arange(42, at::kFloat).view({21, 2});
  generator_.generate(velocity, request, options_, [](const std::vector<media::Frame>&) {});
  EXPECT_TRUE(at::equal(seen_BFK, request.keyboard_FK.unsqueeze(0)));

  request.keyboard_FK = at::zeros({20, 2});
  EXPECT_THAT(
      [&] { generator_.generate(velocity, request, options_, {}); },
      testing::ThrowsMessage<DataError>(testing::HasSubstr("each of the 21 frames, but have 20")));
}

TEST(VideoOutputTest, WritesAllFramesAndKeepsAFew) {
  const TemporaryFolder folder;
  VideoOutput output(folder / "video.mp4", 11, 3, 8.0);
  for (const int count : {5, 6}) {
    std::vector<media::Frame> frames;
    for (int i = 0; i < count; ++i) {
      media::Frame& frame = frames.emplace_back(32, 16);
      std::fill(frame.rgb.begin(), frame.rgb.end(),
                static_cast<uint8_t>(10 * (i + (count == 5 ? 0 : 5))));
    }
    output.add(frames);
  }
  std::vector<int> kept;
  for (const media::Frame& frame : output.finish()) kept.push_back(frame.rgb[0]);
  EXPECT_THAT(kept, ElementsAre(0, 50, 100));
  EXPECT_EQ(media::read_all_frames(folder / "video.mp4").size(), 11U);
  EXPECT_THROW(VideoOutput(folder / "none.mp4", 1, 1, 8.0).finish(), Error);
}

}  // namespace
}  // namespace zoetrope::test
