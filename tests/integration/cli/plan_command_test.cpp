// zoetrope plan: its numbers for published runs, its answers to bad input, and the memory that real
// processes need against what it predicts.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/catalog.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/train/run_plan.h"

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
    for (const std::string role : {"student", "teacher", "critic", "ema"}) {
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
  const nlohmann::json split = plan_json(
      {kExamples + "14b/sft.yaml", "--num-gpus", "512", "--training.distributed.tp_size", "2"});
  EXPECT_EQ(split["num_ranks"], 512);
  EXPECT_EQ(split["samples_per_step"], 256);
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
              HasSubstr("--num-gpus: must be a multiple of training.distributed.hsdp_shard_dim * "
                        "tp_size, which is 8, but got 12"));
  for (const char* few : {"0", "-8", "many"})
    EXPECT_THAT(fault_of({file, "--num-gpus", few}), HasSubstr("--num-gpus: ")) << few;
  for (const char* negative : {"-1", "first"})
    EXPECT_THAT(fault_of({file, "--run-rank", negative}), HasSubstr("--run-rank: ")) << negative;
  EXPECT_THAT(fault_of({file, "--method._target_=self_forcin"}),
              HasSubstr("did you mean 'self_forcing'?"));
  EXPECT_THAT(fault_of({file, "--models.student.init_from=nobody/unknown-model"}),
              HasSubstr("models.student.init_from: "));
  EXPECT_THAT(fault_of({"missing.yaml"}), HasSubstr("missing.yaml"));
}

TEST(PlanCommand, layouts_that_do_not_divide_are_refused) {
  const auto fault = [](int64_t replicate, int64_t sequence, int64_t tensor) {
    return fault_of({kExamples + "14b/sft.yaml",
                     "--training.distributed.num_gpus=" + std::to_string(replicate * 8 * tensor),
                     "--training.distributed.hsdp_replicate_dim=" + std::to_string(replicate),
                     "--training.distributed.sp_size=" + std::to_string(sequence),
                     "--training.distributed.tp_size=" + std::to_string(tensor)});
  };
  EXPECT_THAT(fault(1, 7, 1),
              HasSubstr("must be a multiple of sp_size, but got 1 * 8 and sp_size 7"));
  EXPECT_THAT(fault(2, 16, 1), HasSubstr("must divide the network's 40 heads, but is 16 x 1"));
  EXPECT_THAT(fault(1, 1, 3), HasSubstr("must divide the network's 40 heads, but is 1 x 3"));
  EXPECT_THAT(fault(1, 8, 4), HasSubstr("must divide the network's 40 heads, but is 8 x 4"));
  EXPECT_THAT(fault(1, 1, 20), HasSubstr("tp_size must divide the feed-forward's"));
  EXPECT_THAT(fault_of({kExamples + "14b/sft.yaml", "--training.distributed.tp_size=2",
                        "--num-gpus", "24"}),
              HasSubstr("hsdp_shard_dim * tp_size, which is 16, but got 24"));
  EXPECT_THAT(fault_of({kExamples + "14b/sft.yaml", "--training.distributed.tp_size=2"}),
              HasSubstr("hsdp_replicate_dim * hsdp_shard_dim * tp_size must be num_gpus"));
}

/// Overrides of a suggestion as arguments.
std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(PlanCommand, suggestions_are_overrides_that_hold_what_they_promise) {
  const Catalog catalog;
  const PlanTarget small = gpu_target(find_gpu("rtx4090-24g"));
  bool splits_layers = false;
  for (const char* file : {"14b/sft.yaml", "14b/self_forcing.yaml", "14b/dmd2.yaml"}) {
    const config::Node document = config::parse_yaml_file(kExamples + file);
    const auto describe = [&](std::vector<std::string> overrides) {
      for (const char* role : {"student", "teacher", "critic"}) {
        if (document.find("models")->find(role) == nullptr) continue;
        overrides.push_back(
            fmt::format("--models.{}.init_from=Wan-AI/Wan2.1-T2V-14B-Diffusers", role));
      }
      config::Issues issues;
      const auto stages =
          read_stages(document, config::parse_overrides(overrides), catalog.tables(), issues);
      issues.throw_if_any();
      return describe_run(stages, 0, catalog.tables());
    };
    for (const std::vector<std::string>& start :
         {std::vector<std::string>{},
          {"--training.distributed.num_gpus=16", "--training.distributed.hsdp_shard_dim=1",
           "--training.distributed.hsdp_replicate_dim=16", "--training.distributed.sp_size=1"},
          {"--training.distributed.num_gpus=10", "--training.distributed.hsdp_shard_dim=null",
           "--training.distributed.hsdp_replicate_dim=1", "--training.distributed.sp_size=null"}}) {
      for (const Suggestion& suggestion : suggest_changes(describe(start), small)) {
        std::vector<std::string> overrides = start;
        for (const std::string& word : words_of(suggestion.change)) overrides.push_back(word);
        const MemoryPlan memory = plan_memory(describe(overrides));
        EXPECT_DOUBLE_EQ(memory.bytes_of(memory.peak()), suggestion.peak_bytes)
            << file << ": " << suggestion.change;
        splits_layers = splits_layers || suggestion.change.find("tp_size") != std::string::npos;
      }
    }
  }
  EXPECT_TRUE(splits_layers);
}

TEST(PlanCommand, a_stage_begins_with_the_window_of_the_one_before) {
  const Catalog catalog;
  const std::string cases = ZOETROPE_SOURCE_DIR "/tests/golden/reference/";
  const config::Node document = config::parse_yaml(
      "models: {student: {_target_: wan_causal, num_frames_per_block: 2, init_from: " + cases +
          "_models/wan_a}}\n"
          "method: {_target_: diffusion_forcing_sft, chunk_size: 2}\n"
          "training: {data: {data_path: " +
          cases +
          "_data/t2v, num_latent_t: 4}, "
          "optimizer: {learning_rate: 1.0e-3}, loop: {max_train_steps: 1}, "
          "checkpoint: {output_dir: out}}\n"
          "stages: {windowed: {pipeline: {dit_config: {local_attn_size: 3}}}, next: {}, "
          "bidirectional: {models: {student: {_target_: wan, init_from: stage:next}}}, "
          "last: {models: {student: {_target_: wan_causal, init_from: stage:bidirectional}}}}",
      "run.yaml");
  config::Issues issues;
  const auto stages = read_stages(document, {}, catalog.tables(), issues);
  issues.throw_if_any();
  const auto attention = [&](size_t index) {
    return describe_run(stages, index, catalog.tables()).roles.front().attention;
  };
  EXPECT_EQ(attention(0)->local_attn_size, 3);
  EXPECT_EQ(attention(1), attention(0));
  EXPECT_EQ(attention(2), std::nullopt);
  EXPECT_EQ(attention(3), attention(0));
}

std::vector<std::string> tiny_config(const test::TemporaryFolder& folder, const char* num_heads) {
  const std::string model = (folder / "model").string();
  const test::CommandResult made =
      run_zoetrope({"init", "tiny", model, "--num-heads", num_heads, "--num-layers", "6",
                    "--ffn-dim", "1024", "--text-dim", "32"});
  EXPECT_EQ(made.exit_code, 0) << made.messages;
  const std::string cases = ZOETROPE_SOURCE_DIR "/tests/golden/reference/";
  return {cases + "c01_sft/config.yaml", "--models.student.init_from=" + model,
          "--training.data.data_path=" + cases + "_data/t2v", "--training.distributed.device=cpu"};
}

TEST(PlanCommand, runs_any_rank_of_a_large_layout_alone) {
  const test::TemporaryFolder folder;
  std::vector<std::string> config = tiny_config(folder, "16");
  for (const char* override : {"num_gpus=512", "hsdp_shard_dim=16"})
    config.push_back(std::string("--training.distributed.") + override);
  const std::vector<std::string> data = {"hsdp_replicate_dim=32"};
  const std::vector<std::string> parallel = {"hsdp_replicate_dim=16", "sp_size=4", "tp_size=2"};
  for (const auto& layout : {data, parallel}) {
    for (const char* number : {"0", "17", "511"}) {
      std::vector<std::string> trial = config;
      for (const std::string& override : layout)
        trial.push_back("--training.distributed." + override);
      trial.insert(trial.end(), {"--run-rank", number});
      const nlohmann::json rank = plan_json(trial)["run_rank"];
      EXPECT_NEAR(rank["peak_bytes"].get<double>() / rank["planned_peak_bytes"].get<double>(), 1,
                  0.1)
          << layout.front() << " " << number;
      EXPECT_EQ(rank["sent"].contains("tensor"), layout.size() == parallel.size());
      for (const auto& [group, sent] : rank["sent"].items()) {
        if (sent["planned_bytes_per_step"] == 0) continue;
        EXPECT_NEAR(
            sent["bytes_per_step"].get<double>() / sent["planned_bytes_per_step"].get<double>(), 1,
            0.01)
            << group << " " << number;
      }
    }
  }
  config.insert(config.end(),
                {"--training.distributed.hsdp_replicate_dim=32", "--run-rank", "512"});
  EXPECT_THAT(fault_of(config), HasSubstr("rank: must be one of the layout's 512"));
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
  std::vector<std::string> config = tiny_config(folder, "10");
  config.insert(config.end(),
                {"--training.distributed.num_gpus=" + std::to_string(layout.num_ranks),
                 "--training.loop.max_train_steps=2", "--callbacks.ema.start_iter=0",
                 "--training.tracker.trackers=[jsonl]",
                 "--training.checkpoint.output_dir=" + (folder / "run").string(),
                 "--training.checkpoint.training_state_checkpointing_steps=2"});
  config.insert(config.end(), layout.overrides.begin(), layout.overrides.end());
  const nlohmann::json plan = plan_json(config);
  const double planned = plan["memory"]["peak_of_step_bytes"];
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
  double on_disk = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder / "run" / "checkpoint-2")) {
    if (entry.is_regular_file()) on_disk += static_cast<double>(entry.file_size());
  }
  // Names and shapes of tensors, which count in a network as small as this.
  constexpr double kHeaders = 0.05;
  EXPECT_NEAR(plan["checkpoint_bytes"].get<double>() / on_disk, 1.0, kHeaders);
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
                "--training.data.train_batch_size=1"}},
        Layout{"TwoOfSequence",
               2,
               {"--training.model.compute_dtype=fp32", "--training.distributed.hsdp_shard_dim=2",
                "--training.distributed.sp_size=2"}},
        Layout{"TwoOfTensor",
               2,
               {"--training.model.compute_dtype=fp32", "--training.distributed.tp_size=2",
                "--training.distributed.sp_size=1"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace zoetrope
