// zoetrope plan: its numbers for published runs, its answers to bad input, and the memory that real
// processes need against what it predicts.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"

namespace zoetrope {
namespace {

using test::run_zoetrope;
using testing::HasSubstr;

const std::string kExamples = ZOETROPE_SOURCE_DIR "/examples/wan2.1/";

nlohmann::json plan_json(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "plan");
  arguments.emplace_back("--json");
  const test::CommandResult result = run_zoetrope(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.messages;
  return nlohmann::json::parse(result.output);
}

std::string fault_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "plan");
  const test::CommandResult result = run_zoetrope(arguments);
  EXPECT_NE(result.exit_code, 0) << result.output;
  return result.messages;
}

TEST(PlanCommand, tells_what_a_published_run_needs_without_its_weights) {
  const test::CommandResult result = run_zoetrope({"plan", kExamples + "14b/sft.yaml"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.output, HasSubstr("64 ranks = 8 copies of the parameters x 8 shards"));
  EXPECT_THAT(result.output, HasSubstr("published shape of Wan2.1-T2V-14B"));
  EXPECT_THAT(result.output, HasSubstr("Time of a step, estimated"));
}

TEST(PlanCommand, every_example_has_a_plan) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kExamples)) {
    if (entry.path().extension() != ".yaml") continue;
    // Some start from what another run leaves, which is not there.
    std::vector<std::string> arguments = {entry.path().string()};
    const std::string faults = run_zoetrope({"plan", entry.path().string()}).messages;
    for (const std::string& role : {"student", "teacher", "critic", "ema"}) {
      if (faults.find("models." + role + ".init_from: ") == std::string::npos) continue;
      arguments.push_back("--models." + role + ".init_from=Wan-AI/Wan2.1-T2V-14B-Diffusers");
    }
    const nlohmann::json plan = plan_json(arguments);
    for (const nlohmann::json& stage : plan.is_array() ? plan : nlohmann::json{plan}) {
      EXPECT_GT(stage["memory"]["peak_bytes"], 1e9) << entry.path();
      EXPECT_GT(stage["flops_per_rank"], 1e12) << entry.path();
    }
  }
}

TEST(PlanCommand, another_number_of_gpus_and_overrides_change_the_layout) {
  const nlohmann::json many = plan_json({kExamples + "14b/sft.yaml", "--num-gpus", "512"});
  EXPECT_EQ(many["num_ranks"], 512);
  EXPECT_EQ(many["samples_per_step"], 512);
  const nlohmann::json shared = plan_json(
      {kExamples + "14b/sft.yaml", "--num-gpus", "512", "--training.distributed.sp_size", "4"});
  EXPECT_EQ(shared["samples_per_step"], 128);
}

TEST(PlanCommand, suggests_what_would_fit) {
  const nlohmann::json plan =
      plan_json({kExamples + "14b/sft.yaml", "--training.distributed.hsdp_shard_dim=1",
                 "--training.distributed.hsdp_replicate_dim=64"});
  EXPECT_FALSE(plan["memory"]["fits"]);
  bool any_fits = false;
  for (const auto& suggestion : plan["suggestions"]) any_fits = any_fits || suggestion["fits"];
  EXPECT_TRUE(any_fits) << plan["suggestions"];
}

TEST(PlanCommand, bad_input_is_answered_with_what_must_hold) {
  const std::string file = kExamples + "14b/sft.yaml";
  EXPECT_THAT(fault_of({file, "--gpu", "h100-80gb"}), HasSubstr("did you mean 'h100-80g'?"));
  EXPECT_THAT(fault_of({file, "--num-gpus", "12"}),
              HasSubstr("--num-gpus: must be a multiple of training.distributed.hsdp_shard_dim, "
                        "which is 8, but got 12"));
  EXPECT_THAT(fault_of({file, "--training.distributed.sp_size=7"}), HasSubstr("sp_size"));
  EXPECT_THAT(fault_of({file, "--models.student.init_from=nobody/unknown-model"}),
              HasSubstr("models.student.init_from: "));
  EXPECT_THAT(fault_of({"missing.yaml"}), HasSubstr("missing.yaml"));
}

TEST(PlanCommand, runs_any_rank_of_a_large_layout_alone) {
  const test::TemporaryFolder folder;
  const std::string model = (folder / "model").string();
  ASSERT_EQ(run_zoetrope({"init", "tiny", model, "--num-heads", "10", "--num-layers", "6",
                          "--ffn-dim", "1024", "--text-dim", "32"})
                .exit_code,
            0);
  const std::string cases = ZOETROPE_SOURCE_DIR "/tests/golden/reference/";
  const std::vector<std::string> config = {cases + "c01_sft/config.yaml",
                                           "--models.student.init_from=" + model,
                                           "--training.data.data_path=" + cases + "_data/t2v",
                                           "--training.distributed.device=cpu",
                                           "--training.distributed.num_gpus=512",
                                           "--training.distributed.hsdp_shard_dim=16",
                                           "--training.distributed.hsdp_replicate_dim=32"};
  std::vector<std::string> trial = config;
  trial.insert(trial.end(), {"--run-rank", "17"});
  const nlohmann::json rank = plan_json(trial)["run_rank"];
  EXPECT_NEAR(rank["peak_bytes"].get<double>() / rank["planned_peak_bytes"].get<double>(), 1, 0.1);
  for (const char* group : {"shard", "replicate"}) {
    const nlohmann::json& sent = rank["sent"][group];
    EXPECT_NEAR(sent["bytes_per_step"].get<double>() / sent["planned_bytes_per_step"].get<double>(),
                1, 0.01)
        << group;
  }
  trial = config;
  trial.insert(trial.end(), {"--run-rank", "512"});
  EXPECT_THAT(fault_of(trial), HasSubstr("rank: must be one of the layout's 512"));
}

struct Layout {
  const char* name;
  int num_ranks;
  std::vector<std::string> overrides;
};

class MeasuredMemory : public testing::TestWithParam<Layout> {};

/// The config of a recorded case with a network whose weights count.
TEST_P(MeasuredMemory, is_what_was_planned) {
  const Layout& layout = GetParam();
  const test::TemporaryFolder folder;
  const std::string model = (folder / "model").string();
  const test::CommandResult made =
      run_zoetrope({"init", "tiny", model, "--num-heads", "10", "--num-layers", "6", "--ffn-dim",
                    "1024", "--text-dim", "32"});
  ASSERT_EQ(made.exit_code, 0) << made.messages;
  const std::string cases = ZOETROPE_SOURCE_DIR "/tests/golden/reference/";
  std::vector<std::string> config = {
      cases + "c01_sft/config.yaml",
      "--models.student.init_from=" + model,
      "--training.data.data_path=" + cases + "_data/t2v",
      "--training.distributed.device=cpu",
      "--training.distributed.num_gpus=" + std::to_string(layout.num_ranks),
      "--training.loop.max_train_steps=2",
      "--callbacks.ema.start_iter=0",
      "--training.tracker.trackers=[jsonl]",
      "--training.checkpoint.output_dir=" + (folder / "run").string()};
  config.insert(config.end(), layout.overrides.begin(), layout.overrides.end());
  const double planned = plan_json(config)["memory"]["peak_of_step_bytes"];
  std::vector<std::string> launch = {"launch", "--nproc-per-node", std::to_string(layout.num_ranks),
                                     "train"};
  launch.insert(launch.end(), config.begin(), config.end());
  const test::CommandResult trained = run_zoetrope(launch);
  ASSERT_EQ(trained.exit_code, 0) << trained.messages;
  EXPECT_THAT(trained.messages, HasSubstr("plan: "));
  std::ifstream metrics(folder / "run" / "metrics.jsonl");
  double measured_gib = 0;
  for (std::string line; std::getline(metrics, line);)
    measured_gib = nlohmann::json::parse(line).value("memory_peak_gib", measured_gib);
  EXPECT_NEAR(planned / (measured_gib * 1024 * 1024 * 1024), 1.0, 0.1) << measured_gib;
}

INSTANTIATE_TEST_SUITE_P(
    All, MeasuredMemory,
    testing::Values(
        Layout{"OneRank", 1, {"--training.model.compute_dtype=fp32"}},
        Layout{"TwoShards",
               2,
               {"--training.model.compute_dtype=bf16", "--training.distributed.hsdp_shard_dim=2",
                "--training.distributed.sp_size=1", "--training.data.train_batch_size=1"}},
        Layout{"TwoByTwo",
               4,
               {"--training.model.compute_dtype=fp32", "--training.distributed.hsdp_shard_dim=2",
                "--training.distributed.hsdp_replicate_dim=2", "--training.distributed.sp_size=1",
                "--training.data.train_batch_size=1"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace zoetrope
