// Game models through YAML alone: every method at batch 2, and the export of a causal role that
// began with a bidirectional network.
#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;

const fs::path kReference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";

class GameRun : public testing::Test {
 protected:
  static std::string model(const std::string& name) {
    return (kReference / "_models" / name).string();
  }

  /// Trains the first steps of a recorded config at batch 2 into `out`, with a checkpoint at the
  /// end.
  void train(const std::string& recorded, std::vector<std::string> overrides,
             const std::string& out = "out", int num_steps = 2) {
    std::vector<std::string> arguments = {"train",
                                          (kReference / recorded / "config.yaml").string()};
    overrides.insert(
        overrides.end(),
        {"--training.data.data_path", (kReference / "_data/matrixgame2").string(),
         "--training.data.train_batch_size", "2", "--training.loop.max_train_steps",
         std::to_string(num_steps), "--training.checkpoint.training_state_checkpointing_steps",
         std::to_string(num_steps), "--training.checkpoint.output_dir", (folder_ / out).string(),
         "--training.tracker.trackers", "[none]", "--training.model.compute_dtype", "fp32",
         "--training.distributed.device", "cpu"});
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    const CommandResult result = run_zoetrope(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.messages;
    EXPECT_TRUE(fs::exists(folder_ / out / "diffusers/transformer/config.json"));
  }

  TemporaryFolder folder_;
};

TEST_F(GameRun, FineTunesWithRecomputation) {
  train("c06_mg2_sft", {"--models.student.init_from", model("matrixgame2_base"),
                        "--training.model.enable_gradient_checkpointing_type", "full"});
}

TEST_F(GameRun, ForcesDiffusionOnTheBidirectionalNetwork) {
  train("c06b_mg2_causal_dfsft", {"--models.student._target_", "wan_game",
                                  "--models.student.init_from", model("matrixgame2_base")});
}

TEST_F(GameRun, ForcesItself) {
  train("c06e_mg2_self_forcing",
        {"--models.student.init_from", model("matrixgame2_causal"), "--models.teacher.init_from",
         model("matrixgame2_base"), "--models.critic.init_from", model("matrixgame2_base")});
}

TEST_F(GameRun, MatchesDistributions) {
  train("c06_mg2_sft", {"--models.student.init_from",
                        model("matrixgame2_base"),
                        "--models.teacher._target_",
                        "wan_game",
                        "--models.teacher.init_from",
                        model("matrixgame2_base"),
                        "--models.teacher.trainable",
                        "false",
                        "--models.critic._target_",
                        "wan_game",
                        "--models.critic.init_from",
                        model("matrixgame2_base"),
                        "--method._target_",
                        "dmd2",
                        "--method.rollout_mode",
                        "simulate",
                        "--method.dmd_denoising_steps",
                        "[1000, 500]",
                        "--method.fake_score_learning_rate",
                        "1e-4",
                        "--method.fake_score_betas",
                        "[0, 0.99]",
                        "--method.fake_score_lr_scheduler",
                        "constant"});
}

TEST_F(GameRun, ALongClipGoesOnAfterAStopWithTheSameBits) {
  // The second step's window is one new frame behind two of the first step, whose keys in the cache
  // are those of other weights.
  std::vector<std::string> overrides = {"--models.student.init_from",
                                        model("matrixgame2_causal"),
                                        "--models.teacher.init_from",
                                        model("matrixgame2_base"),
                                        "--models.critic.init_from",
                                        model("matrixgame2_base"),
                                        "--method._target_",
                                        "streaming_long_tuning",
                                        "--method.streaming_chunk_size",
                                        "3",
                                        "--method.streaming_max_length",
                                        "4",
                                        "--method.streaming_reencode_overlap_anchor",
                                        "false",
                                        "--method.generator_update_interval",
                                        "1"};
  train("c06e_mg2_self_forcing", overrides);
  train("c06e_mg2_self_forcing", overrides, "stopped", 1);
  overrides.insert(overrides.end(), {"--training.checkpoint.resume_from_checkpoint", "latest"});
  train("c06e_mg2_self_forcing", overrides, "stopped");
  const WeightFolder undisturbed(folder_ / "out/diffusers/transformer");
  const WeightFolder resumed(folder_ / "stopped/diffusers/transformer");
  for (const std::string& name : undisturbed.names())
    EXPECT_TRUE(at::equal(resumed.tensor(name), undisturbed.tensor(name))) << name;
}

TEST_F(GameRun, ExportsTheCausalNetworkOfACheckpoint) {
  // A bidirectional network whose tensors a causal one has, too.
  const fs::path bidirectional = folder_ / "bidirectional";
  fs::copy(model("matrixgame2_causal"), bidirectional, fs::copy_options::recursive);
  const fs::path config_file = bidirectional / "transformer/config.json";
  std::ifstream file(config_file);
  auto config = nlohmann::json::parse(file);
  config["_class_name"] = "MatrixGame2WanModel";
  config["added_kv_proj_dim"] = nullptr;
  fs::remove(config_file);
  std::ofstream(config_file) << config;
  train("c06b_mg2_causal_dfsft", {"--models.student.init_from", bidirectional.string()});

  const fs::path exported = folder_ / "exported";
  const CommandResult result = run_zoetrope(
      {"export", (folder_ / "out").string(), "--output", exported.string(), "--verify"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  std::ifstream exported_config(exported / "transformer/config.json");
  EXPECT_EQ(nlohmann::json::parse(exported_config)["_class_name"], "CausalMatrixGame2WanModel");
  const WeightFolder ours(exported / "transformer");
  const WeightFolder at_the_end(folder_ / "out/diffusers/transformer");
  ASSERT_EQ(ours.names(), at_the_end.names());
  for (const std::string& name : ours.names())
    EXPECT_TRUE(at::equal(ours.tensor(name), at_the_end.tensor(name))) << name;
}

TEST_F(GameRun, ExportsWhatTheNetworkHasNoUseFor) {
  train("c06_mg2_sft", {"--models.student.init_from", model("matrixgame2_base")});
  const fs::path exported = folder_ / "exported";
  const CommandResult result =
      run_zoetrope({"export", (folder_ / "out").string(), "--output", exported.string()});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_EQ(WeightFolder(exported / "transformer").names(),
            WeightFolder(fs::path(model("matrixgame2_base")) / "transformer").names());
}

}  // namespace
}  // namespace zoetrope::test
