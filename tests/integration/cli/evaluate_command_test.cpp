// The toy world through the tiny pipeline that the project carries: made, encoded, decoded,
// measured.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"
#include "zoetrope/pipelines/wan_pipeline.h"
#include "zoetrope/synthetic/shapes_metrics.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

const std::string kPipeline = std::string(ZOETROPE_SOURCE_DIR) + "/assets/tiny-wan";

// What the metrics give for true clips is the most that a trained model can reach.
TEST(ToyWorld, ClipsThroughTheVaeAreMeasuredRight) {
  const TemporaryFolder folder;
  const CommandResult made = run_zoetrope(
      {"preprocess", "synthetic:shapes", "-o", (folder / "data").string(), "-m", kPipeline,
       "--height", "48", "--width", "48", "--num-frames", "33", "--num-clips", "48"});
  ASSERT_EQ(made.exit_code, 0) << made.messages;
  const ParquetDataset dataset({{(folder / "data").string(), 1}}, parquet_schema("t2v"));
  ASSERT_EQ(dataset.num_rows(), 48);
  const WanVae vae(std::filesystem::path(kPipeline) / "vae", at::kCPU, at::kFloat);
  ShapesScorer scorer(ShapesWorld(48, 48));
  for (const ShapesSubject& subject : all_shapes_subjects()) {
    const auto index = static_cast<int64_t>(scorer.scores().num_videos);
    const ParquetRow row = dataset.read(index);
    EXPECT_EQ(row.text("caption"), subject.caption());
    const at::Tensor latent_BCTHW = row.tensors.at("vae_latent").unsqueeze(0);
    scorer.add(subject, to_frames(decode_to_bytes(vae, vae.normalize(latent_BCTHW))[0]));
  }
  const ShapesScores scores = scorer.scores();
  EXPECT_GE(scores.color_accuracy, 0.97);
  EXPECT_GE(scores.shape_accuracy, 0.97);
  EXPECT_EQ(scores.direction_accuracy, 1.0);
  EXPECT_EQ(scores.visible, 1.0);
  EXPECT_LT(scores.mean_trajectory_error(0, 33), 0.75);
}

TEST(EvaluateCommand, WritesScores) {
  const TemporaryFolder folder;
  const CommandResult result = run_zoetrope(
      {"evaluate", "synthetic:shapes", kPipeline, "--steps", "1", "--guidance-scale", "1",
       "--height", "32", "--width", "32", "--num-frames", "5", "--videos-per-caption", "1",
       "--training-frames", "3", "-o", (folder / "out").string()});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  const auto scores = nlohmann::json::parse(read_file(folder / "out/scores.json"));
  EXPECT_EQ(scores.at("num_videos"), 48);
  EXPECT_EQ(scores.at("trajectory_error").size(), 2U);
  EXPECT_EQ(scores.at("trajectory_error_by_frame").size(), 5U);
  EXPECT_LT(scores.at("direction_accuracy"), 0.5);  // an untrained network
  EXPECT_TRUE(std::filesystem::exists(folder / "out/sheet.png"));
}

TEST(EvaluateCommand, RefusesVideosBeyondTheKnownPositions) {
  const CommandResult result = run_zoetrope(
      {"evaluate", "synthetic:shapes", kPipeline, "--pipeline", "wan-causal", "--local-attn-size",
       "6", "--height", "32", "--width", "32", "--num-frames", "4101"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.messages, HasSubstr("--num-frames: must be at most 4093"));
}

TEST(EvaluateCommand, OtherWorldsAreRefused) {
  const CommandResult result = run_zoetrope({"evaluate", "synthetic:shape", kPipeline});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.messages, HasSubstr("WORLD must be synthetic:shapes or synthetic:steering"));
}

TEST(PreprocessShapes, OptionsOfOtherInputsAreRefused) {
  const TemporaryFolder folder;
  const CommandResult result =
      run_zoetrope({"preprocess", folder.path().string(), "-o", (folder / "out").string(), "-m",
                    kPipeline, "--num-frames", "5", "--num-clips", "3"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.messages, HasSubstr("are for synthetic:shapes and synthetic:steering alone"));
}

}  // namespace
}  // namespace zoetrope::test
