// Training runs of low-rank adapters through the binary, on recorded data of the reference.
#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/networks/lora/lora_file.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LoraTraining : public testing::Test {
 protected:
  CommandResult train(const std::string& dtype, const std::string& lora) {
    const fs::path reference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student:\n    _target_: wan\n    init_from: "
        << (reference / "_models/wan_a").string()
        << "\n    enable_gradient_checkpointing_type: full\n    lora: " << lora
        << "\nmethod: {_target_: fine_tune}\ntraining:\n  data: {data_path: "
        << (reference / "_data/t2v").string()
        << ", num_latent_t: 4, train_batch_size: 2, seed: 5}\n  optimizer: {learning_rate: "
           "1.0e-2}\n  loop: {max_train_steps: 3, gradient_accumulation_steps: 2}\n  checkpoint: "
           "{output_dir: "
        << (folder_ / "out").string()
        << "}\n  tracker: {trackers: [none]}\n  model: {compute_dtype: " << dtype
        << "}\ncallbacks:\n  grad_clip: {}\n  ema: {decay: 0.5, start_iter: 2}\n";
    return run_zoetrope({"train", (folder_ / "run.yaml").string()});
  }

  TemporaryFolder folder_;
};

class LoraTrainingOfType : public LoraTraining, public testing::WithParamInterface<const char*> {};

TEST_P(LoraTrainingOfType, LeavesTheAdaptersAndTheirAverage) {
  const CommandResult result = train(GetParam(), "{enable: true, rank: 4, alpha: 8}");
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  const LoraWeights trained = read_lora_file(folder_ / "out/lora");
  const LoraWeights average = read_lora_file(folder_ / "out/lora_ema");
  EXPECT_EQ(trained.rank, 4);
  EXPECT_EQ(trained.alpha, 8);
  ASSERT_EQ(trained.tensors.size(), average.tensors.size());
  for (size_t i = 0; i < trained.tensors.size(); ++i) {
    const auto& [name, tensor] = trained.tensors[i];
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    EXPECT_GT(tensor.abs().max().item<double>(), 0.0) << name;
    EXPECT_FALSE(at::equal(tensor, average.tensors[i].second)) << name;
  }
  EXPECT_FALSE(fs::exists(folder_ / "out/lora/transformer"));
}

INSTANTIATE_TEST_SUITE_P(Types, LoraTrainingOfType, testing::Values("fp32", "bf16"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST_F(LoraTraining, SaysWhenNoLayerIsTargeted) {
  const CommandResult result = train("fp32", "{enable: true, rank: 4, target_modules: [to_queue]}");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("models.student"));
  EXPECT_THAT(result.messages, HasSubstr("lora.target_modules: must match a linear layer"));
}

TEST_F(LoraTraining, SaysWhenTheAdapterFileDoesNotFit) {
  write_lora_file(folder_ / "other", {4,
                                      4,
                                      {{"blocks.7.attn1.to_q.lora_A.weight", at::ones({4, 2})},
                                       {"blocks.7.attn1.to_q.lora_B.weight", at::ones({2, 4})}}});
  const CommandResult result =
      train("fp32", "{enable: true, rank: 4, init_from: " + (folder_ / "other").string() + "}");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("'blocks.7.attn1.to_q.lora_A.weight' is unexpected"));
  EXPECT_THAT(result.messages, HasSubstr("'blocks.0.attn1.to_q.lora_A.weight' is missing"));
}

}  // namespace
}  // namespace zoetrope::test
