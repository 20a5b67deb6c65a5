#include "zoetrope/media/resize.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/test_videos.h"
#include "zoetrope/base/error.h"

namespace zoetrope::media {
namespace {

// Bytes without pattern, the same in every run.
Frame noise(int width, int height) {
  Frame frame(width, height);
  uint32_t state = 12345;
  for (uint8_t& byte : frame.rgb) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return frame;
}

// One pixel by the definition: a triangle as wide as the reduction, centred on the output pixel, in
// both directions.
std::array<double, 3> triangle_resize(const Frame& source, const CropBox& box, int width,
                                      int height, int x, int y) {
  const double scale_x = static_cast<double>(box.width - 1) / (width - 1);
  const double scale_y = static_cast<double>(box.height - 1) / (height - 1);
  const double support_x = std::max(1.0, scale_x);
  const double support_y = std::max(1.0, scale_y);
  std::array<double, 3> rgb{};
  double weights = 0.0;
  for (int v = 0; v < box.height; ++v) {
    const double weight_y =
        std::max(0.0, 1.0 - std::abs(v + 0.5 - scale_y * (y + 0.5)) / support_y);
    for (int u = 0; u < box.width; ++u) {
      const double weight_x =
          std::max(0.0, 1.0 - std::abs(u + 0.5 - scale_x * (x + 0.5)) / support_x);
      const uint8_t* pixel = source.pixel(box.x + u, box.y + v);
      for (double& sum : rgb) sum += weight_x * weight_y * *pixel++;
      weights += weight_x * weight_y;
    }
  }
  for (double& sum : rgb) sum /= weights;
  return rgb;
}

TEST(CenterCropBox, KeepsTheTargetsAspectRatioInTheMiddle) {
  EXPECT_EQ(center_crop_box(1920, 1080, 832, 480), (CropBox{24, 0, 1872, 1080}));
  EXPECT_EQ(center_crop_box(1080, 1920, 832, 480), (CropBox{0, 648, 1080, 623}));
  EXPECT_EQ(center_crop_box(100, 50, 64, 32), (CropBox{0, 0, 100, 50}));
  EXPECT_EQ(center_crop_box(64, 64, 64, 64), (CropBox{0, 0, 64, 64}));
  // (11 - 8) / 2 = 1.5 and (13 - 8) / 2 = 2.5 both go to 2.
  EXPECT_EQ(center_crop_box(11, 8, 4, 4).x, 2);
  EXPECT_EQ(center_crop_box(13, 8, 4, 4).x, 2);
}

TEST(Resize, AgreesWithTheDefinition) {
  struct Case {
    int width = 0;
    int height = 0;
    CropBox box;
    int target_width = 0;
    int target_height = 0;
  };
  for (const Case& c : {Case{61, 47, {0, 0, 61, 47}, 16, 12}, Case{61, 47, {5, 3, 50, 40}, 33, 39},
                        Case{20, 16, {2, 2, 15, 13}, 48, 32}, Case{40, 40, {0, 0, 40, 40}, 40, 10},
                        Case{9, 9, {0, 0, 1, 9}, 4, 4}}) {
    const Frame source = noise(c.width, c.height);
    const Frame target = crop_and_resize(source, c.box, c.target_width, c.target_height);
    ASSERT_EQ(target.width, c.target_width);
    ASSERT_EQ(target.height, c.target_height);
    for (int y = 0; y < c.target_height; ++y) {
      for (int x = 0; x < c.target_width; ++x) {
        const std::array<double, 3> rgb =
            triangle_resize(source, c.box, c.target_width, c.target_height, x, y);
        for (size_t channel = 0; channel < 3; ++channel) {
          // Rounded to bytes after each direction.
          ASSERT_NEAR(target.pixel(x, y)[channel], rgb[channel], 1.05) << x << ", " << y;
        }
      }
    }
  }
}

TEST(Resize, SameSizeIsTheSamePicture) {
  const Frame source = noise(31, 17);
  EXPECT_EQ(resize_and_center_crop(source, 31, 17), source);
}

TEST(Resize, DoesNotAlias) {
  Frame stripes(256, 64);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 256; ++x)
      std::fill_n(stripes.pixel(x, y), 3, static_cast<uint8_t>(x % 2 == 0 ? 255 : 0));
  }
  const Frame small = resize_and_center_crop(stripes, 64, 16);
  // Away from the right edge, where the triangle is cut.
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 62; ++x) EXPECT_NEAR(*small.pixel(x, y), 127.5, 17.0);
  }
}

// A sum over the bytes that depends on their places.
uint64_t checksum(const Frame& frame) {
  uint64_t sum = 0;
  for (size_t i = 0; i < frame.rgb.size(); ++i) sum = sum * 31 + frame.rgb[i];
  return sum;
}

TEST(Resize, GivesPyTorchsBytes) {
  // torch.nn.functional.interpolate(uint8, mode="bilinear", align_corners=True, antialias=True) of
  // PyTorch 2.15 on the CPU, on the same crops of the same noise.
  EXPECT_EQ(checksum(resize_and_center_crop(noise(97, 61), 32, 24)), 9643632775395170386ULL);
  EXPECT_EQ(checksum(resize_and_center_crop(noise(61, 97), 48, 32)), 8620592104358572557ULL);
  EXPECT_EQ(checksum(resize_and_center_crop(noise(20, 15), 40, 30)), 16037945318601528106ULL);
}

TEST(Resize, RefusesImpossibleSizes) {
  EXPECT_THROW(crop_and_resize(noise(8, 8), {4, 0, 5, 8}, 4, 4), Error);
  EXPECT_THROW(crop_and_resize(noise(8, 8), {0, 0, 8, 8}, 1, 4), Error);
}

}  // namespace
}  // namespace zoetrope::media
