#include <cmath>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/temporary_folder.h"
#include "support/test_videos.h"
#include "zoetrope/base/error.h"
#include "zoetrope/media/video_reader.h"
#include "zoetrope/media/video_writer.h"

namespace zoetrope::media {
namespace {

namespace fs = std::filesystem;
using test::brightening;
using test::error_of;
using test::make_test_video;
using test::mean_byte;
using test::moving_square;
using test::TemporaryFolder;
using test::TestVideo;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string data_error_of(const fs::path& path) {
  try {
    VideoReader reader(path);
    while (reader.next()) {
    }
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

// 8-bit brightness in limited range as it comes out in RGB.
double limited_to_rgb(int luma) {
  return (luma - 16) * 255.0 / 219.0;
}

TEST(VideoWriter, WhatIsWrittenCanBeReadBack) {
  const TemporaryFolder folder;
  std::vector<Frame> frames;
  for (int i = 0; i < 12; ++i) frames.push_back(moving_square(96, 64, i));
  write_video(folder / "out.mp4", frames, {.fps = 12.5, .crf = 4, .preset = "medium"});
  VideoReader reader(folder / "out.mp4");
  EXPECT_EQ(reader.info().width, 96);
  EXPECT_EQ(reader.info().height, 64);
  EXPECT_EQ(reader.info().codec, "h264");
  EXPECT_NEAR(reader.info().fps, 12.5, 1e-9);
  EXPECT_NEAR(reader.info().duration_sec, 12 / 12.5, 1e-3);
  EXPECT_TRUE(reader.info().num_frames_is_exact);
  EXPECT_EQ(reader.info().num_frames, 12);
  Frame frame;
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(reader.next());
    EXPECT_NEAR(reader.time_sec(), i / 12.5, 1e-3);
    EXPECT_NEAR(reader.end_sec(), (i + 1) / 12.5, 1e-3);
    reader.copy_to(frame);
    EXPECT_GT(test::psnr_db(frame, frames[static_cast<size_t>(i)]), 30.0) << i;
  }
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.next());
}

TEST(VideoWriter, KeepsColours) {
  const TemporaryFolder folder;
  for (const std::array<uint8_t, 3> colour :
       {std::array<uint8_t, 3>{200, 30, 40}, {20, 180, 60}, {30, 40, 220}}) {
    Frame frame(32, 32);
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 32; ++x) std::copy(colour.begin(), colour.end(), frame.pixel(x, y));
    }
    write_video(folder / "colour.mp4", {frame, frame}, {.crf = 1});
    const auto read = read_all_frames(folder / "colour.mp4");
    ASSERT_EQ(read.size(), 2U);
    for (int c = 0; c < 3; ++c)
      EXPECT_NEAR(read[0].pixel(16, 16)[c], colour[static_cast<size_t>(c)], 3) << c;
  }
}

TEST(VideoWriter, RefusesOddDimensionsAndWrongFrames) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      error_of([&] { VideoWriter(folder / "odd.mp4", 33, 16); }),
      AllOf(HasSubstr("odd.mp4: H.264 video must have even dimensions"), HasSubstr("33x16")));
  EXPECT_THAT(error_of([&] { write_video(folder / "none.mp4", {}); }),
              HasSubstr("at least one frame"));
  EXPECT_THAT(error_of([&] { VideoWriter(folder / "a.mp4", 32, 16, {.preset = "medum"}); }),
              HasSubstr("did you mean 'medium'?"));
  EXPECT_THAT(error_of([&] { VideoWriter(folder / "a.mp4", 32, 16, {.fps = 0.0}); }),
              HasSubstr("fps must be"));
  EXPECT_THAT(error_of([&] { VideoWriter(folder / "missing/a.mp4", 32, 16); }),
              HasSubstr("missing/a.mp4: creating"));
  {
    VideoWriter writer(folder / "size.mp4", 32, 16);
    EXPECT_THAT(error_of([&] { writer.write(Frame(16, 16)); }),
                HasSubstr("frame 0 must be 32x16, but is 16x16"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path())) << "unfinished files must be gone";
}

TEST(VideoWriter, LeavesTheOldFileUntilTheNewOneIsComplete) {
  const TemporaryFolder folder;
  write_video(folder / "out.mp4", {moving_square(32, 32, 0)});
  const auto old_size = fs::file_size(folder / "out.mp4");
  {
    VideoWriter writer(folder / "out.mp4", 64, 64);
    for (int i = 0; i < 5; ++i) writer.write(moving_square(64, 64, i));
  }
  EXPECT_EQ(fs::file_size(folder / "out.mp4"), old_size);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(VideoWriter, AFullDiskLeavesNothingBehind) {
  const TemporaryFolder folder;
  std::string message;
  {
    const test::FileSizeLimit limit(2000);
    message = error_of([&] {
      VideoWriter writer(folder / "out.mp4", 96, 64, {.fps = 16, .crf = 1});
      for (int i = 0; i < 100; ++i) writer.write(moving_square(96, 64, i));
      writer.finish();
    });
  }
  EXPECT_THAT(message, AllOf(HasSubstr("out.mp4: writing failed"), HasSubstr("File too large")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(VideoReader, NamesWhatIsWrongWithAFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(data_error_of(folder / "absent.mp4"),
              HasSubstr("absent.mp4: must be a video file, but does not exist"));
  EXPECT_THAT(data_error_of(folder.path()), HasSubstr("but is a folder"));
  std::ofstream(folder / "empty.mp4").close();
  EXPECT_THAT(data_error_of(folder / "empty.mp4"),
              HasSubstr("empty.mp4: must be a video file, but is empty (0 bytes)"));
  std::ofstream(folder / "text.mp4") << "these are words, not a video";
  EXPECT_THAT(data_error_of(folder / "text.mp4"),
              HasSubstr("text.mp4: must be a video file, but cannot be opened"));
  test::make_wav(folder / "sound.wav");
  EXPECT_THAT(data_error_of(folder / "sound.wav"),
              HasSubstr("sound.wav: must hold a video stream, but has none"));
  TestVideo frameless;
  frameless.container = "avi";
  make_test_video(folder / "frameless.avi", frameless);
  EXPECT_THAT(data_error_of(folder / "frameless.avi"),
              HasSubstr("frameless.avi: must hold video frames"));
  std::ofstream(folder / "list.m3u8")
      << "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n";
  EXPECT_THAT(data_error_of(folder / "list.m3u8"), HasSubstr("list.m3u8"));
}

class TruncatedVideo : public ::testing::TestWithParam<TestVideo> {};

TEST_P(TruncatedVideo, IsRefusedWhereverItIsCut) {
  const TemporaryFolder folder;
  TestVideo video = GetParam();
  make_test_video(folder / "whole.bin", video);
  ASSERT_EQ(read_all_frames(folder / "whole.bin").size(), video.times_msec.size());
  const auto size = fs::file_size(folder / "whole.bin");
  for (const double part : {0.02, 0.3, 0.5, 0.7, 0.9}) {
    const fs::path cut = folder / "cut.bin";
    fs::copy_file(folder / "whole.bin", cut, fs::copy_options::overwrite_existing);
    fs::resize_file(cut, static_cast<uintmax_t>(static_cast<double>(size) * part));
    EXPECT_THAT(data_error_of(cut), HasSubstr("cut.bin: ")) << part;
  }
}

TestVideo with(TestVideo video, const std::string& container, const std::string& codec,
               bool faststart) {
  video.container = container;
  video.codec = codec;
  video.faststart = faststart;
  video.constant_rate = container != "matroska";
  return video;
}

INSTANTIATE_TEST_SUITE_P(Containers, TruncatedVideo,
                         ::testing::Values(with(brightening(24, 10), "mp4", "libx264", false),
                                           with(brightening(24, 10), "mp4", "libx264", true),
                                           with(brightening(24, 10), "matroska", "ffv1", false),
                                           with(brightening(24, 10), "avi", "ffv1", false)));

TEST(VideoReader, IrregularTimesAreKept) {
  const TemporaryFolder folder;
  TestVideo video = brightening(5, 10);
  video.times_msec = {0, 40, 300, 310, 900};
  make_test_video(folder / "vfr.mkv", video);
  VideoReader reader(folder / "vfr.mkv");
  for (const int64_t time : video.times_msec) {
    ASSERT_TRUE(reader.next());
    EXPECT_NEAR(reader.time_sec(), static_cast<double>(time) / 1000.0, 1e-6);
  }
  EXPECT_FALSE(reader.next());
}

struct FormatCase {
  std::string codec;
  std::string pixel_format;
  bool full_range;
};

class PixelFormats : public ::testing::TestWithParam<FormatCase> {};

TEST_P(PixelFormats, BrightnessComesOutRight) {
  const TemporaryFolder folder;
  TestVideo video = brightening(4, 10, 40);
  video.width = 50;  // odd sizes of rows: nothing may rely on alignment
  video.height = 18;
  video.codec = GetParam().codec;
  video.pixel_format = GetParam().pixel_format;
  video.full_range = GetParam().full_range;
  make_test_video(folder / "format.mkv", video);
  const auto frames = read_all_frames(folder / "format.mkv");
  ASSERT_EQ(frames.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    const double expected = GetParam().full_range ? video.luma[i] : limited_to_rgb(video.luma[i]);
    EXPECT_NEAR(mean_byte(frames[i]), expected, 1.5) << i;
    const uint8_t* corner = frames[i].pixel(49, 17);
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(corner[c], expected, 2.0) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, PixelFormats,
    ::testing::Values(FormatCase{"ffv1", "yuv420p", false}, FormatCase{"ffv1", "yuv444p", false},
                      FormatCase{"ffv1", "yuv420p10le", false},
                      FormatCase{"ffv1", "yuv422p12le", false},
                      FormatCase{"mjpeg", "yuvj420p", true}, FormatCase{"mjpeg", "yuvj444p", true},
                      FormatCase{"ffv1", "gray", true}, FormatCase{"ffv1", "gray16le", true}),
    [](const auto& test) { return test.param.codec + "_" + test.param.pixel_format; });

TEST(VideoReader, SeeksToTheFrameAtOrAfterATime) {
  const TemporaryFolder folder;
  std::vector<Frame> frames;
  for (int i = 0; i < 40; ++i) frames.push_back(moving_square(64, 48, i));
  write_video(folder / "long.mp4", frames, {.fps = 10.0});
  VideoReader reader(folder / "long.mp4");
  for (const auto& [asked, got] : {std::pair{2.0, 2.0}, {0.55, 0.6}, {3.9, 3.9}, {0.0, 0.0}}) {
    reader.seek(asked);
    ASSERT_TRUE(reader.next()) << asked;
    EXPECT_NEAR(reader.time_sec(), got, 1e-3);
  }
  reader.seek(3.7);
  int count = 0;
  while (reader.next()) ++count;
  EXPECT_EQ(count, 3);
}

struct TurnedCase {
  int rotation_degrees;
  bool mirrored;
  bool corner_is_right;  // where a player shows the stored picture's top left corner
  bool corner_is_low;
};

class TurnedVideo : public ::testing::TestWithParam<TurnedCase> {};

TEST_P(TurnedVideo, ComesUpright) {
  const TemporaryFolder folder;
  TestVideo video = with(brightening(2, 10), "mp4", "libx264", false);
  video.width = 64;
  video.height = 32;
  video.corner_luma = 120;
  video.rotation_degrees = GetParam().rotation_degrees;
  video.mirrored = GetParam().mirrored;
  make_test_video(folder / "turned.mp4", video);
  VideoReader reader(folder / "turned.mp4");
  const bool on_its_side = video.rotation_degrees % 180 != 0;
  EXPECT_EQ(reader.info().width, on_its_side ? 32 : 64);
  EXPECT_EQ(reader.info().height, on_its_side ? 64 : 32);
  ASSERT_TRUE(reader.next());
  Frame frame;
  reader.copy_to(frame);
  ASSERT_EQ(frame.width, reader.info().width);
  ASSERT_EQ(frame.height, reader.info().height);
  for (const bool right : {false, true}) {
    for (const bool low : {false, true}) {
      const bool bright = right == GetParam().corner_is_right && low == GetParam().corner_is_low;
      const uint8_t* pixel = frame.pixel(frame.width / 4 + (right ? frame.width / 2 : 0),
                                         frame.height / 4 + (low ? frame.height / 2 : 0));
      EXPECT_NEAR(pixel[0], limited_to_rgb(20 + (bright ? 120 : 0)), 4) << right << low;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Matrices, TurnedVideo,
    ::testing::Values(TurnedCase{0, false, false, false}, TurnedCase{90, false, true, false},
                      TurnedCase{180, false, true, true}, TurnedCase{270, false, false, true},
                      TurnedCase{0, true, true, false}, TurnedCase{90, true, false, false},
                      TurnedCase{180, true, false, true}, TurnedCase{270, true, true, true}));

TEST(Orientation, ADegenerateMatrixTurnsNothing) {
  const int32_t matrix[9] = {};
  EXPECT_TRUE(orientation_of(matrix).is_upright());
}

}  // namespace
}  // namespace zoetrope::media
