// Whole training runs through the binary, on recorded data of the reference and a two-layer
// network.
#include <cstdlib>
#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/kernels/packed_matmul.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class TrainingRun : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path reference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";
    fs::copy(reference / "_models/wan_a", folder_ / "wan", fs::copy_options::recursive);
    data_ = reference / "_data/t2v";
    write_config("");
  }

  void write_config(const std::string& callbacks) {
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student: {_target_: wan, init_from: " << (folder_ / "wan").string()
        << "}\nmethod: {_target_: fine_tune}\ntraining:\n  data: {data_path: " << data_.string()
        << ", num_latent_t: 4, train_batch_size: 2, seed: 5}\n  optimizer: "
           "{learning_rate: 1.0e-3}\n  loop: {max_train_steps: 3}\n  checkpoint: "
           "{output_dir: "
        << (folder_ / "out").string()
        << "}\n  tracker: {trackers: [jsonl]}\n  model: {compute_dtype: fp32}\n"
        << callbacks;
  }

  CommandResult train(std::vector<std::string> overrides = {}) {
    std::vector<std::string> arguments = {"train", (folder_ / "run.yaml").string()};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    return run_zoetrope(arguments);
  }

  NamedTensors weights(const fs::path& pipeline) {
    const WeightFolder folder(pipeline / "transformer");
    NamedTensors tensors;
    for (const std::string& name : folder.names())
      tensors.emplace_back(name, folder.tensor(name).clone());
    return tensors;
  }

  static void expect_equal(const NamedTensors& a, const NamedTensors& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << a[i].first;
  }

  TemporaryFolder folder_;
  fs::path data_;
};

TEST_F(TrainingRun, LeavesConfigMetricsAndPipelines) {
  write_config("callbacks:\n  grad_clip: {}\n  ema: {decay: 0.5, start_iter: 2}\n");
  const CommandResult result = train();
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages, AllOf(HasSubstr("out/diffusers"), HasSubstr("out/diffusers_ema")));
  EXPECT_EQ(run_zoetrope({"validate", (folder_ / "out/config.yaml").string()}).exit_code, 0);
  std::ifstream metrics(folder_ / "out/metrics.jsonl");
  int num_steps = 0;
  for (std::string line; std::getline(metrics, line);) {
    if (nlohmann::json::parse(line).contains("total_loss")) ++num_steps;
  }
  EXPECT_EQ(num_steps, 3);
  const NamedTensors before = weights(folder_ / "wan");
  const NamedTensors after = weights(folder_ / "out/diffusers");
  const NamedTensors average = weights(folder_ / "out/diffusers_ema");
  ASSERT_EQ(before.size(), after.size());
  int num_changed = 0;
  int num_averaged = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].second.sizes(), after[i].second.sizes());
    num_changed += at::equal(before[i].second, after[i].second) ? 0 : 1;
    num_averaged += at::equal(average[i].second, after[i].second) ? 0 : 1;
  }
  EXPECT_EQ(num_changed, static_cast<int>(before.size()));
  EXPECT_EQ(num_averaged, static_cast<int>(before.size()));
}

TEST_F(TrainingRun, IsTheSameWithAnyNumberOfWorkers) {
  ASSERT_EQ(train({"--training.data.dataloader_num_workers=0"}).exit_code, 0);
  const NamedTensors first = weights(folder_ / "out/diffusers");
  ASSERT_EQ(train({"--training.data.dataloader_num_workers=3"}).exit_code, 0);
  expect_equal(first, weights(folder_ / "out/diffusers"));
}

TEST_F(TrainingRun, GradientCheckpointingChangesNothing) {
  ASSERT_EQ(train().exit_code, 0);
  const NamedTensors first = weights(folder_ / "out/diffusers");
  ASSERT_EQ(train({"--training.model.enable_gradient_checkpointing_type=full"}).exit_code, 0);
  const NamedTensors second = weights(folder_ / "out/diffusers");
  if (kernels::has_packed_matmul(kernels::Element::kFp32)) {
    expect_equal(first, second);
    return;
  }
  // Plain blocks sum the gradient of what all blocks share (time and text) in another order.
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    const at::Tensor& expected = first[i].second;
    EXPECT_LT(((second[i].second - expected).norm() / expected.norm()).item<double>(), 1e-5)
        << first[i].first;
  }
}

TEST_F(TrainingRun, NamesMissingAndDamagedWeights) {
  const fs::path file = folder_ / "wan/transformer/diffusion_pytorch_model.safetensors";
  const std::string bytes = read_file(file);
  fs::resize_file(file, bytes.size() / 2);
  CommandResult result = train();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("models.student"), HasSubstr(file.string()), HasSubstr("truncated")));
  fs::remove(file);
  result = train();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("must hold diffusion_pytorch_model.safetensors"));
}

TEST_F(TrainingRun, ListsWrongShapes) {
  const fs::path config = folder_ / "wan/transformer/config.json";
  auto json = nlohmann::ordered_json::parse(read_file(config));
  json["ffn_dim"] = 96;
  write_file_atomically(config, json.dump());
  const CommandResult result = train();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(
      result.messages,
      AllOf(HasSubstr("6 tensors do not"),
            HasSubstr("'blocks.0.ffn.net.0.proj.weight' must have shape [96, 48], but has")));
}

TEST_F(TrainingRun, OneProcessIsNotTakenForSeveral) {
  const CommandResult result = train({"--training.distributed.num_gpus=2"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages,
              HasSubstr("must be the number of processes that were started, 1, but got 2; start as "
                        "many with `zoetrope launch --nproc-per-node 2 train FILE ...`"));
}

TEST_F(TrainingRun, ResumesByItsFlagAndKeepsOneLog) {
  const std::string every = "--training.checkpoint.training_state_checkpointing_steps=1";
  ASSERT_EQ(train({every, "--training.loop.max_train_steps=2"}).exit_code, 0);
  const CommandResult fresh = train({every});
  EXPECT_EQ(fresh.exit_code, 1);
  EXPECT_THAT(fresh.messages, HasSubstr("--training.checkpoint.resume_from_checkpoint latest"));
  const CommandResult resumed =
      train({every, "--training.checkpoint.resume_from_checkpoint", "latest"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.messages;
  EXPECT_THAT(resumed.messages,
              AllOf(HasSubstr("resume: training.loop.max_train_steps is now 3, was 2"),
                    HasSubstr("checkpoint-2: 2 steps are done")));
  const NamedTensors continued = weights(folder_ / "out/diffusers");
  ASSERT_EQ(train({"--training.checkpoint.output_dir=" + (folder_ / "whole").string()}).exit_code,
            0);
  expect_equal(continued, weights(folder_ / "whole/diffusers"));
  std::ifstream metrics(folder_ / "out/metrics.jsonl");
  std::vector<int64_t> steps;
  for (std::string line; std::getline(metrics, line);)
    steps.push_back(nlohmann::json::parse(line)["step"]);
  EXPECT_THAT(steps, testing::ElementsAre(1, 2, 3));
}

TEST_F(TrainingRun, NamesSamplesThatAreTooShort) {
  const CommandResult result = train({"--training.data.num_latent_t=9"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("sample 'video_"));
}

}  // namespace
}  // namespace zoetrope::test
