#include "zoetrope/media/image.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "support/test_videos.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/media/ffmpeg_handles.h"

namespace zoetrope::media {
namespace {

using test::moving_square;
using test::TemporaryFolder;
using ::testing::HasSubstr;

std::string error_of(const std::filesystem::path& path) {
  try {
    read_image(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Image, PngKeepsEveryByte) {
  const TemporaryFolder folder;
  for (const auto& [width, height] : {std::pair{33, 17}, {1, 1}, {64, 48}}) {
    const Frame frame = moving_square(std::max(width, 2), height, 3);
    write_png(folder / "a.png", frame);
    EXPECT_EQ(read_image(folder / "a.png"), frame);
  }
}

TEST(Image, PngHeaderSaysTheSize) {
  const std::string bytes = encode_png(Frame(300, 2));
  EXPECT_EQ(bytes.substr(0, 8), "\x89PNG\r\n\x1a\n");
  // Width and height, big-endian, then 8 bits of colour type 2 (RGB).
  EXPECT_EQ(bytes.substr(12, 14), std::string("IHDR\0\0\x01\x2c\0\0\0\x02\x08\x02", 14));
}

TEST(Image, ReadsJpeg) {
  const TemporaryFolder folder;
  auto video = test::brightening(1, 10);
  video.container = "mjpeg";
  video.codec = "mjpeg";
  video.pixel_format = "yuvj420p";
  video.full_range = true;
  video.luma = {77};
  test::make_test_video(folder / "a.jpg", video);
  const Frame frame = read_image(folder / "a.jpg");
  EXPECT_EQ(frame.width, 32);
  EXPECT_NEAR(test::mean_byte(frame), 77, 1.0);
}

TEST(Image, NamesWhatIsWrongWithAFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of(folder / "absent.png"), HasSubstr("absent.png: must be a readable file"));
  std::ofstream(folder / "words.png") << "words";
  EXPECT_THAT(error_of(folder / "words.png"),
              HasSubstr("words.png: must be a PNG or JPEG picture"));
  const std::string whole = encode_png(moving_square(64, 64, 0));
  for (const double part : {0.05, 0.3, 0.6, 0.9}) {
    write_file_atomically(
        folder / "cut.png",
        whole.substr(0, static_cast<size_t>(part * static_cast<double>(whole.size()))));
    EXPECT_THAT(error_of(folder / "cut.png"), HasSubstr("cut.png: ")) << part;
  }
}

Frame plain(int width, int height, uint8_t value) {
  Frame frame(width, height);
  std::fill(frame.rgb.begin(), frame.rgb.end(), value);
  return frame;
}

TEST(ContactSheet, RowsAreVideosAndColumnsAreEvenlySpacedFrames) {
  std::vector<std::vector<Frame>> videos(2);
  for (int i = 0; i < 9; ++i) videos[0].push_back(plain(10, 6, static_cast<uint8_t>(i)));
  for (int i = 0; i < 5; ++i) videos[1].push_back(plain(8, 4, static_cast<uint8_t>(100 + i)));
  const Frame sheet = contact_sheet(videos, 3);
  EXPECT_EQ(sheet.width, 3 * 10 + 4 * 4);
  EXPECT_EQ(sheet.height, 6 + 4 + 3 * 4);
  const int columns[] = {4, 18, 32};
  const uint8_t expected[2][3] = {{0, 4, 8}, {100, 102, 104}};
  for (int c = 0; c < 3; ++c) {
    EXPECT_EQ(*sheet.pixel(columns[c], 4), expected[0][c]);
    EXPECT_EQ(*sheet.pixel(columns[c] + 9, 9), expected[0][c]);
    EXPECT_EQ(*sheet.pixel(columns[c], 14), expected[1][c]);
    EXPECT_EQ(*sheet.pixel(columns[c] + 8, 14), 255);  // beside the smaller video
    EXPECT_EQ(*sheet.pixel(columns[c] - 1, 4), 255);
  }
  EXPECT_EQ(contact_sheet({videos[1]}, 12).width, 5 * 12 + 4);
  EXPECT_EQ(*contact_sheet(videos, 1).pixel(4, 4), 0);
}

TEST(ContactSheet, RefusesNothing) {
  EXPECT_THROW(contact_sheet({}, 3), Error);
  EXPECT_THROW(contact_sheet({{}}, 3), Error);
  EXPECT_THROW(contact_sheet({{plain(2, 2, 0)}}, 0), Error);
}

}  // namespace
}  // namespace zoetrope::media
