// Validation files with pictures and actions, and what the generator gets of them.
#include "zoetrope/callbacks/video_requests.h"

#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "zoetrope/media/image.h"

namespace zoetrope::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class VideoRequests : public testing::Test {
 protected:
  VideoRequests() {
    options_.num_frames = 5;
    options_.num_height = 16;
    options_.num_width = 24;
    media::Frame picture(96, 32);
    std::fill(picture.rgb.begin(), picture.rgb.end(), uint8_t{200});
    media::write_png(folder_ / "first.png", picture);
    std::ofstream file(folder_ / "keys.csv");
    file << "keyboard_0\n";
    for (int k = 0; k < 7; ++k) file << k << "\n";
  }

  std::vector<ValidationPrompt> read(const std::string& items) const {
    std::ofstream(folder_ / "validation.json") << "{\"data\": [" << items << "]}";
    return read_validation_prompts(folder_ / "validation.json");
  }

  TemporaryFolder folder_;
  VideoOptions options_;
};

TEST_F(VideoRequests, PathsCountFromTheFile) {
  const auto prompts =
      read(R"({"caption": "a", "image_path": "first.png", "action_path": "keys.csv"},)"
           R"( {"caption": "b", "image_path": null, "video_path": "b.mp4"}, {"caption": "c"})");
  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_EQ(prompts[0].image, folder_ / "first.png");
  EXPECT_EQ(prompts[0].actions, folder_ / "keys.csv");
  EXPECT_EQ(prompts[1].image, folder_ / "b.mp4");
  EXPECT_TRUE(prompts[2].image.empty());
  EXPECT_THAT(error_of([&] { read(R"({"caption": "a", "image_path": 3})"); }),
              AllOf(HasSubstr("image_path"), HasSubstr("3")));
}

TEST_F(VideoRequests, MediaAreFittedToTheVideo) {
  const VideoRequest request =
      make_video_request({"a", folder_ / "first.png", folder_ / "keys.csv"}, 3, options_,
                         {.text = false, .image = true, .actions = true});
  EXPECT_EQ(request.noise_index, 3);
  ASSERT_TRUE(request.first_frame.has_value());
  EXPECT_EQ(request.first_frame->width, 24);
  EXPECT_EQ(request.first_frame->height, 16);
  EXPECT_EQ(request.first_frame->pixel(5, 5)[1], 200);
  EXPECT_TRUE(at::equal(request.keyboard_FK, at::arange(5).to(at::kFloat).unsqueeze(1)));
  EXPECT_FALSE(request.mouse_F2.defined());
}

TEST_F(VideoRequests, WhatTheNetworkDoesNotTakeIsNotOpened) {
  const VideoRequest request =
      make_video_request({"a", "absent.png", "absent.csv"}, 0, options_, {});
  EXPECT_FALSE(request.first_frame.has_value());
  EXPECT_FALSE(request.keyboard_FK.defined());
}

TEST_F(VideoRequests, SaysWhatIsMissing) {
  const VideoInputs game{.text = false, .image = true, .actions = true};
  EXPECT_THAT(error_of([&] { make_video_request({"a"}, 1, options_, game); }),
              AllOf(HasSubstr("video 1"), HasSubstr("image")));
  options_.num_frames = 9;
  EXPECT_THAT(
      error_of([&] {
        make_video_request({"a", folder_ / "first.png", folder_ / "keys.csv"}, 0, options_, game);
      }),
      AllOf(HasSubstr("keys.csv"), HasSubstr("9 frames"), HasSubstr("has 7")));
}

TEST(VideoInputsOfData, AreThoseOfItsSchema) {
  EXPECT_FALSE(video_inputs("t2v").image);
  EXPECT_TRUE(video_inputs("text_only").text);
  EXPECT_TRUE(video_inputs("i2v").text && video_inputs("i2v").image);
  EXPECT_FALSE(video_inputs("i2v").actions);
  EXPECT_FALSE(video_inputs("matrixgame2").text);
  EXPECT_TRUE(video_inputs("matrixgame2").image && video_inputs("matrixgame2").actions);
}

}  // namespace
}  // namespace zoetrope::test
