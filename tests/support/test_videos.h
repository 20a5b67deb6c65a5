// Makes odd video files for the tests, straight through libav: any container, codec, pixel format
// and timing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "zoetrope/media/frame.h"

namespace zoetrope::test {

struct TestVideo {
  std::string container = "matroska";
  std::string codec = "ffv1";
  std::string pixel_format = "yuv420p";
  int width = 32;
  int height = 16;
  int fps = 10;
  int rotation_degrees = 0;         ///< clockwise, by the display matrix alone
  bool mirrored = false;            ///< left and right swapped, by the display matrix alone
  std::vector<int64_t> times_msec;  ///< presentation times; one frame each
  std::vector<int> luma;  ///< 8-bit brightness of each frame (scaled up for deeper formats)
  int corner_luma = 0;    ///< added in the stored picture's top left quarter
  bool full_range = false;
  bool faststart = false;      ///< index first (mp4)
  bool constant_rate = false;  ///< ticks of 1 / fps; times_msec only counts the frames
};

/// Frames of one brightness each (but for their corner), without colour.
void make_test_video(const std::filesystem::path& path, const TestVideo& video);

/// `count` evenly timed frames that brighten from 20 on in steps of `step`.
TestVideo brightening(int count, int fps, int step = 8);

/// A one-second WAV file, made by hand.
void make_wav(const std::filesystem::path& path);

/// A smooth picture with a moving square, so that frames differ and compress like real ones.
media::Frame moving_square(int width, int height, int index);

/// Mean over all bytes.
double mean_byte(const media::Frame& frame);

/// Peak signal-to-noise ratio in dB of two pictures of the same size.
double psnr_db(const media::Frame& a, const media::Frame& b);

}  // namespace zoetrope::test
