// The steering world through a tiny game model: made, encoded, decoded, measured, sampled.
#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/data/preprocess/synthetic_sources.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"
#include "zoetrope/pipelines/wan_pipeline.h"
#include "zoetrope/synthetic/steering_metrics.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;

/// Random weights beside the trained VAE.
class SteeringWorldRun : public testing::Test {
 protected:
  SteeringWorldRun() {
    const CommandResult made =
        run_zoetrope({"init", "tiny-keyboard-game", model(), "--dtype", "fp32", "--components",
                      "transformer", "vae", "image_encoder"});
    EXPECT_EQ(made.exit_code, 0) << made.messages;
    fs::copy(fs::path(ZOETROPE_SOURCE_DIR) / "assets/tiny-wan/vae", folder_ / "model/vae",
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }

  std::string model() const { return (folder_ / "model").string(); }

  TemporaryFolder folder_;
};

// What the metrics give for true clips is the most that a trained model can reach.
TEST_F(SteeringWorldRun, ClipsThroughTheVaeObeyTheirKeys) {
  const CommandResult made =
      run_zoetrope({"preprocess", kSteeringInput, "-o", (folder_ / "data").string(), "-m", model(),
                    "--data-type", "matrixgame2", "--height", "48", "--width", "48", "--num-frames",
                    "33", "--num-clips", "24", "--seed", "5"});
  ASSERT_EQ(made.exit_code, 0) << made.messages;
  const ParquetDataset dataset({{(folder_ / "data").string(), 1}}, parquet_schema("matrixgame2"));
  ASSERT_EQ(dataset.num_rows(), 24);
  const WanVae vae(folder_ / "model/vae", at::kCPU, at::kFloat);
  const SteeringWorld world(48, 48);
  SteeringScorer scorer(world);
  for (int64_t index = 0; index < 24; ++index) {
    const SteeringClip clip = world.clip(5, index, 33);
    const ParquetRow row = dataset.read(index);
    EXPECT_TRUE(at::equal(row.tensors.at("keyboard_cond"), steering_actions(clip).keyboard_FK));
    const at::Tensor latent_BCTHW = row.tensors.at("vae_latent").unsqueeze(0);
    scorer.add(clip, to_frames(decode_to_bytes(vae, vae.normalize(latent_BCTHW))[0]));
  }
  const SteeringScores scores = scorer.scores();
  const auto obeyed = std::accumulate(scores.obeyed.begin(), scores.obeyed.end(), ObeyedSteps());
  EXPECT_GE(obeyed.share(), 0.98);
  EXPECT_NEAR(scores.visible, 1.0, 1e-9);
}

TEST_F(SteeringWorldRun, EvaluateWritesScores) {
  for (const std::string pipeline : {"wan", "wan-causal"}) {
    const fs::path output = folder_ / pipeline;
    const CommandResult result = run_zoetrope(
        {"evaluate", kSteeringInput, model(), "--pipeline", pipeline, "--steps", "1", "--height",
         "48", "--width", "48", "--num-frames", "13", "--videos-per-caption", "1",
         "--training-frames", "9", "-o", output.string()});
    ASSERT_EQ(result.exit_code, 0) << result.messages;
    const auto scores = nlohmann::json::parse(read_file(output / "scores.json"));
    EXPECT_EQ(scores.at("num_videos"), 12);
    EXPECT_EQ(scores.at("obeyed_by_segment").size(), 2U);
    EXPECT_EQ(scores.at("obeyed_by_step").size(), 12U);
    EXPECT_EQ(scores.at("position_error").size(), 2U);
    EXPECT_LT(scores.at("obeyed"), 0.6);  // an untrained network
    EXPECT_TRUE(fs::exists(output / "sheet.png"));
  }
}

}  // namespace
}  // namespace zoetrope::test
