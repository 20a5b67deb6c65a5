#include "zoetrope/media/clip_sampler.h"

#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "support/test_videos.h"
#include "zoetrope/base/error.h"

namespace zoetrope::media {
namespace {

using test::brightening;
using test::make_test_video;
using test::TemporaryFolder;
using ::testing::ElementsAre;

Frame same(const Frame& frame) {
  return frame;
}

std::vector<Clip> all_clips(const std::filesystem::path& path, const ClipOptions& options) {
  VideoReader reader(path);
  ClipSampler sampler(reader, options, same);
  std::vector<Clip> clips;
  while (auto clip = sampler.next()) clips.push_back(std::move(*clip));
  EXPECT_EQ(static_cast<int64_t>(clips.size()), count_clips(sampler.num_grid_frames(), options));
  EXPECT_NEAR(static_cast<double>(clips.size()),
              static_cast<double>(estimate_num_clips(reader.info(), options)), 1.0);
  return clips;
}

struct RateCase {
  int source_fps;
  double grid_fps;
};

class Rates : public ::testing::TestWithParam<RateCase> {};

TEST_P(Rates, ConstantRatesGiveFastVideosFrames) {
  const auto [source_fps, grid_fps] = GetParam();
  constexpr int kNumSource = 60;
  const TemporaryFolder folder;
  make_test_video(folder / "a.mkv", brightening(kNumSource, source_fps, 3));
  // numpy.arange(0, num_frames, fps / train_fps).astype(int), in whole numbers.
  std::vector<int64_t> expected;
  const auto grid = static_cast<int64_t>(grid_fps);
  for (int64_t k = 0; k * source_fps < kNumSource * grid; ++k)
    expected.push_back(k * source_fps / grid);
  ClipOptions options{.fps = grid_fps};
  options.num_frames = static_cast<int64_t>(expected.size());
  const auto clips = all_clips(folder / "a.mkv", options);
  ASSERT_EQ(clips.size(), 1U);
  EXPECT_EQ(clips[0].source_indices, expected);
  options.num_frames += 1;
  EXPECT_TRUE(all_clips(folder / "a.mkv", options).empty());
}

INSTANTIATE_TEST_SUITE_P(Pairs, Rates,
                         ::testing::Values(RateCase{30, 10}, RateCase{30, 16}, RateCase{24, 16},
                                           RateCase{25, 24}, RateCase{12, 30}, RateCase{60, 7},
                                           RateCase{16, 16}));

TEST(ClipSampler, FramesAreTheOnesOnScreen) {
  const TemporaryFolder folder;
  auto video = brightening(6, 10, 30);
  video.times_msec = {0, 90, 300, 310, 900, 1000};
  make_test_video(folder / "vfr.mkv", video);
  const auto clips = all_clips(folder / "vfr.mkv", {.fps = 10.0, .num_frames = 11});
  ASSERT_EQ(clips.size(), 1U);
  EXPECT_THAT(clips[0].source_indices, ElementsAre(0, 1, 1, 2, 3, 3, 3, 3, 3, 4, 5));
  for (size_t i = 0; i < 11; ++i) {
    const int luma = video.luma[static_cast<size_t>(clips[0].source_indices[i])];
    EXPECT_NEAR(test::mean_byte(clips[0].frames[i]), (luma - 16) * 255.0 / 219.0, 1.5) << i;
  }
}

TEST(ClipSampler, AFirstFrameThatComesLateStartsTheGrid) {
  const TemporaryFolder folder;
  auto video = brightening(4, 10);
  for (int64_t& time : video.times_msec) time += 500;
  make_test_video(folder / "late.mkv", video);
  const auto clips = all_clips(folder / "late.mkv", {.fps = 10.0, .num_frames = 4});
  ASSERT_EQ(clips.size(), 1U);
  EXPECT_THAT(clips[0].source_indices, ElementsAre(0, 1, 2, 3));
}

TEST(ClipSampler, CutsSeveralClips) {
  const TemporaryFolder folder;
  make_test_video(folder / "a.mkv", brightening(20, 10));
  const auto apart = all_clips(folder / "a.mkv", {.fps = 10, .num_frames = 3, .stride_frames = 7});
  ASSERT_EQ(apart.size(), 3U);
  EXPECT_THAT(apart[2].source_indices, ElementsAre(14, 15, 16));
  EXPECT_EQ(apart[2].index, 2);
  EXPECT_DOUBLE_EQ(apart[2].start_sec, 1.4);
  const auto overlapping =
      all_clips(folder / "a.mkv", {.fps = 10, .num_frames = 8, .stride_frames = 3});
  ASSERT_EQ(overlapping.size(), 5U);
  EXPECT_THAT(overlapping[4].source_indices, ElementsAre(12, 13, 14, 15, 16, 17, 18, 19));
  const auto limited =
      all_clips(folder / "a.mkv",
                {.fps = 10, .num_frames = 8, .stride_frames = 3, .first_clip = 1, .max_clips = 3});
  ASSERT_EQ(limited.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(limited[i].index, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(limited[i].frames, overlapping[i + 1].frames);
  }
}

TEST(ClipSampler, TouchesEachUsedFrameOnceAndNoOther) {
  const TemporaryFolder folder;
  make_test_video(folder / "a.mkv", brightening(20, 10));
  VideoReader reader(folder / "a.mkv");
  int num_transformed = 0;
  ClipSampler sampler(reader, {.fps = 20, .num_frames = 4, .stride_frames = 10},
                      [&](const Frame& frame) {
                        ++num_transformed;
                        return frame;
                      });
  int num_clips = 0;
  while (sampler.next()) ++num_clips;
  EXPECT_EQ(num_clips, 4);
  EXPECT_EQ(num_transformed, 8);  // two source frames a clip, each shown twice
  EXPECT_EQ(sampler.num_grid_frames(), 40);
}

TEST(ClipSampler, RefusesSenselessOptions) {
  const TemporaryFolder folder;
  make_test_video(folder / "a.mkv", brightening(2, 10));
  VideoReader reader(folder / "a.mkv");
  EXPECT_THROW(ClipSampler(reader, {.fps = 0.0}, same), ConfigError);
  EXPECT_THROW(ClipSampler(reader, {.num_frames = 0}, same), ConfigError);
  EXPECT_THROW(ClipSampler(reader, {.stride_frames = 0}, same), ConfigError);
}

TEST(CountClips, CountsWhatFits) {
  EXPECT_EQ(count_clips(80, {.num_frames = 81}), 0);
  EXPECT_EQ(count_clips(81, {.num_frames = 81}), 1);
  EXPECT_EQ(count_clips(100, {.num_frames = 10, .stride_frames = 30}), 4);
  EXPECT_EQ(count_clips(99, {.num_frames = 10, .stride_frames = 30}), 3);
  EXPECT_EQ(
      count_clips(100, {.num_frames = 10, .stride_frames = 30, .first_clip = 1, .max_clips = 3}),
      2);
}

}  // namespace
}  // namespace zoetrope::media
