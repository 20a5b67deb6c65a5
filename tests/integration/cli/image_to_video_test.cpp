// Image to video and videos with actions through the binary: a random pipeline, preprocessing,
// training, sampling and validation.
#include <fstream>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/media/image.h"
#include "zoetrope/media/video_reader.h"
#include "zoetrope/media/video_writer.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kWidth = 48;
constexpr int kHeight = 32;
constexpr int kFrames = 5;

class ImageToVideo : public testing::Test {
 protected:
  void init(const std::string& size) const {
    const CommandResult result =
        run_zoetrope({"init", size, pipeline(), "--dtype", "fp32", "--components", "transformer",
                      "vae", "image_encoder"});
    ASSERT_EQ(result.exit_code, 0) << result.messages;
    for (const char* component : {"text_encoder", "tokenizer"}) {
      fs::copy(fs::path(ZOETROPE_SOURCE_DIR) / "assets/tiny-wan" / component,
               fs::path(pipeline()) / component, fs::copy_options::recursive);
    }
  }

  std::string pipeline() const { return (folder_ / "pipeline").string(); }

  /// A square that moves to the right.
  static std::vector<media::Frame> frames(int num_frames) {
    std::vector<media::Frame> frames;
    for (int k = 0; k < num_frames; ++k) {
      media::Frame frame(kWidth, kHeight);
      for (int y = 8; y < 20; ++y) {
        for (int x = 2 * k; x < 2 * k + 12; ++x) frame.pixel(x, y)[1] = 250;
      }
      frames.push_back(std::move(frame));
    }
    return frames;
  }

  void write_clips() const {
    fs::create_directories(folder_ / "in");
    for (const char* name : {"one", "two"}) {
      media::write_video(folder_ / fmt::format("in/{}.mp4", name), frames(kFrames + 1));
      std::ofstream(folder_ / fmt::format("in/{}.txt", name)) << "a square moves";
      std::ofstream keys(folder_ / fmt::format("in/{}.jsonl", name));
      for (int k = 0; k < kFrames + 1; ++k)
        keys << fmt::format("{{\"keyboard\": [{}, 0, 0, 1], \"mouse\": [0, 0.5]}}\n", k % 2);
    }
    media::write_png(folder_ / "first.png", frames(1).front());
  }

  CommandResult preprocess(const std::string& data_type) const {
    return run_zoetrope({"preprocess", (folder_ / "in").string(), "-o", (folder_ / "data").string(),
                         "-m", pipeline(), "--data-type", data_type, "--num-frames",
                         std::to_string(kFrames), "--height", std::to_string(kHeight), "--width",
                         std::to_string(kWidth), "--device", "cpu"});
  }

  void write_config(const std::string& model, const std::string& more) const {
    std::ofstream(folder_ / "validation.json")
        << R"({"data": [{"caption": "a square", "image_path": "first.png"},)"
        << R"( {"caption": "the same", "image_path": null, "video_path": "in/one.mp4",)"
        << R"( "action_path": "in/one.jsonl"}]})";
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student: {_target_: " << model << ", init_from: " << pipeline() << more
        << "}\nmethod: {_target_: fine_tune}\ntraining:\n  data: {data_path: "
        << (folder_ / "data").string() << ", num_latent_t: 2, num_height: " << kHeight
        << ", num_width: " << kWidth
        << ", seed: 5}\n  optimizer: {learning_rate: 1.0e-3}\n"
           "  loop: {max_train_steps: 2}\n  checkpoint: {output_dir: "
        << (folder_ / "out").string()
        << "}\n  tracker: {trackers: [jsonl]}\n  model: {compute_dtype: fp32}\n"
           "callbacks:\n  validation: {dataset_file: "
        << (folder_ / "validation.json").string()
        << ", every_steps: 2, run_at_start: false, sampling_steps: [2], guidance_scale: 2.0}\n";
  }

  CommandResult sample(const std::string& model, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"sample",       model,
                                          "--num-frames", std::to_string(kFrames),
                                          "--height",     std::to_string(kHeight),
                                          "--width",      std::to_string(kWidth),
                                          "--steps",      "2",
                                          "--output",     (folder_ / "samples").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_zoetrope(arguments);
  }

  TemporaryFolder folder_;
};

TEST_F(ImageToVideo, PreprocessesTrainsValidatesAndSamples) {
  init("tiny-i2v");
  write_clips();
  CommandResult result = preprocess("i2v");
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  const ParquetDataset dataset({{(folder_ / "data").string(), 1}}, parquet_schema("i2v"));
  ASSERT_EQ(dataset.num_rows(), 2);
  const ParquetRow row = dataset.read(0);
  EXPECT_EQ(row.tensors.at("clip_feature").sizes(), (at::IntArrayRef{17, 64}));
  EXPECT_EQ(row.tensors.at("first_frame_latent").sizes(), row.tensors.at("vae_latent").sizes());
  result = run_zoetrope({"inspect", (folder_ / "data").string()});
  EXPECT_THAT(result.output, AllOf(HasSubstr("2 rows of schema i2v"), HasSubstr("clip_feature")));

  for (const char* lora : {"", ", lora: {enable: true, rank: 2}"}) {
    SCOPED_TRACE(lora);
    fs::remove_all(folder_ / "out");
    write_config("wan_i2v", lora);
    result = run_zoetrope({"train", (folder_ / "run.yaml").string()});
    ASSERT_EQ(result.exit_code, 0) << result.messages;
    for (const int video : {0, 1}) {
      EXPECT_TRUE(fs::exists(
          folder_ / "out" /
          fmt::format("validation_step_2_inference_steps_2_rank_0_video_{}.mp4", video)));
    }
  }
  result =
      sample(pipeline(), {"--prompt", "a square", "--image", (folder_ / "first.png").string()});
  EXPECT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_EQ(media::read_all_frames(folder_ / "samples/video_0.mp4").size(), size_t{kFrames});
  result = sample(pipeline(), {"--prompt", "a square"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("must have an image to begin with"));
}

TEST_F(ImageToVideo, VideosWithActions) {
  init("tiny-game");
  write_clips();
  std::ofstream(folder_ / "in/two.jsonl") << "{\"keyboard\": [0, 0, 0, 0], \"mouse\": [0, 0]}\n";
  CommandResult result = preprocess("matrixgame2");
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.output, HasSubstr("2 videos in = 1 complete + 1 listed"));
  result = run_zoetrope({"inspect", (folder_ / "data").string()});
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("1 rows of schema matrixgame2"),
                    HasSubstr("keys held in 40.0%, 0.0%, 0.0%, 100.0%"), HasSubstr("at most 0.5")));
  write_config("wan_game", "");
  result = run_zoetrope(
      {"train", (folder_ / "run.yaml").string(), "--callbacks.validation.guidance_scale=null"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  const std::string image = (folder_ / "first.png").string();
  const std::string actions = (folder_ / "in/one.jsonl").string();
  result = sample(pipeline(), {"--image", image, "--actions", actions});
  EXPECT_EQ(result.exit_code, 0) << result.messages;
}

TEST_F(ImageToVideo, RefusesMediaThatTheModelDoesNotTake) {
  write_clips();
  const CommandResult result =
      sample(ZOETROPE_SOURCE_DIR "/assets/tiny-wan",
             {"--prompt", "a square", "--image", (folder_ / "first.png").string()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("--image: must be left out"));
}

}  // namespace
}  // namespace zoetrope::test
