// Checkpoints across layouts: what any arrangement of ranks saved, any other goes on from.
#include <filesystem>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/ranks/layout_run.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

using test::LayoutResult;
using test::LayoutRun;
using test::train_on;

constexpr int64_t kNumMicroBatches = 4;

/// Statistics of the samples that rank 0 saw.
bool is_of_one_rank(const std::string& key) {
  return key.starts_with("callbacks.distillation_health.");
}

class CheckpointsAcrossLayouts : public testing::TestWithParam<const char*> {
 public:
  ~CheckpointsAcrossLayouts() override { std::filesystem::current_path(working_folder_); }

 protected:
  CheckpointsAcrossLayouts() { std::filesystem::current_path(test::reference_root()); }

  LayoutResult train_to(int64_t num_steps, const MeshSizes& sizes, const std::string& folder,
                        const std::vector<std::string>& overrides = {}) {
    LayoutRun run{GetParam()};
    run.overrides = {
        "--training.data.train_batch_size=1", "--training.distributed.deterministic=true",
        "--callbacks.ema._target_=ema",       "--callbacks.ema.decay=0.5",
        "--callbacks.ema.start_iter=2",       "--training.loop.max_train_steps=8"};
    run.overrides.insert(run.overrides.end(), overrides.begin(), overrides.end());
    run.num_steps = num_steps;
    run.accumulation = kNumMicroBatches / sizes.num_data_groups();
    return train_on(sizes, run, (folder_ / folder).string());
  }

  /// The newest checkpoint of a run.
  DcpFolder checkpoint(const std::string& folder, int64_t step) const {
    return DcpFolder(folder_ / folder / ("checkpoint-" + std::to_string(step)) / "dcp");
  }

  test::TemporaryFolder folder_;

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

TEST_P(CheckpointsAcrossLayouts, ARunMovesBetweenLayoutsWithTheSameBits) {
  const LayoutResult undisturbed = train_to(8, {}, "one");
  train_to(2, {}, "moving");
  train_to(4, {.shard = 4}, "moving");
  train_to(5, {.replicate = 2, .shard = 2}, "moving");
  train_to(6, {.replicate = 2}, "moving");
  train_to(7, {.shard = 2}, "moving");
  const LayoutResult moved = train_to(8, {}, "moving");
  for (const auto& [name, weight] : undisturbed.weights)
    EXPECT_TRUE(at::equal(moved.weights.at(name), weight)) << name;
  // Moments and averages, too.
  const DcpFolder expected = checkpoint("one", 8);
  const DcpFolder actual = checkpoint("moving", 8);
  size_t num_averages = 0;
  for (const auto& [key, entry] : expected.entries()) {
    if (!entry.is_tensor || is_of_one_rank(key)) continue;
    EXPECT_TRUE(at::equal(actual.read_tensor(key), expected.read_tensor(key))) << key;
    num_averages += key.starts_with("callbacks.ema.student_ema.") ? 1 : 0;
  }
  EXPECT_GT(num_averages, 10U);
}

TEST_P(CheckpointsAcrossLayouts, TensorParallelRanksGoOnFromShardsAndBack) {
  const LayoutResult undisturbed = train_to(6, {}, "one");
  train_to(2, {.shard = 2}, "moving");
  train_to(4, {.shard = 2, .tensor = 2}, "moving");
  train_to(5, {.tensor = 2}, "moving");
  const LayoutResult moved = train_to(6, {.replicate = 2}, "moving");
  for (const auto& [name, weight] : undisturbed.weights) {
    const double distance = (moved.weights.at(name) - weight).norm().item<double>();
    EXPECT_LT(distance, 1e-4 * weight.norm().clamp_min(1e-30).item<double>()) << name;
  }
}

// Adapters of split layers are whole in checkpoints, as one rank writes them.
TEST_P(CheckpointsAcrossLayouts, AdaptersOfTensorParallelRanksGoOnOnAnyLayout) {
  const std::vector<std::string> lora = {
      "--models.student.lora.enable=true", "--models.student.lora.rank=4",
      "--models.student.lora.target_modules=[to_q,to_k,to_v,to_out,ffn,proj_out]"};
  train_to(6, {}, "one", lora);
  train_to(2, {}, "moving", lora);
  train_to(4, {.tensor = 2}, "moving", lora);
  train_to(5, {.shard = 2, .tensor = 2}, "moving", lora);
  train_to(6, {}, "moving", lora);
  train_to(6, {.shard = 2, .tensor = 2}, "split", lora);
  const DcpFolder expected = checkpoint("one", 6);
  size_t num_adapters = 0;
  for (const char* folder : {"moving", "split"}) {
    const DcpFolder actual = checkpoint(folder, 6);
    EXPECT_EQ(actual.entries().size(), expected.entries().size());
    for (const auto& [key, entry] : expected.entries()) {
      if (!entry.is_tensor || key.find(".lora_") == std::string::npos) continue;
      const at::Tensor one = expected.read_tensor(key);
      ASSERT_EQ(actual.read_tensor(key).sizes(), one.sizes()) << key;
      const double distance = (actual.read_tensor(key) - one).norm().item<double>();
      // Of moments, too, which are sums of rounded gradients.
      EXPECT_LE(distance, 1e-4 * one.norm().item<double>()) << folder << " " << key;
      ++num_adapters;
    }
  }
  EXPECT_GT(num_adapters, 100U);
}

TEST_P(CheckpointsAcrossLayouts, EachRankWritesItsPartOnce) {
  train_to(2, {.replicate = 2, .shard = 2}, "hybrid");
  train_to(2, {}, "one");
  const DcpFolder hybrid = checkpoint("hybrid", 2);
  const DcpFolder one = checkpoint("one", 2);
  uint64_t num_bytes = 0;
  std::map<std::string, uint64_t> num_bytes_by_file;
  for (const auto& [key, entry] : hybrid.entries()) {
    ASSERT_TRUE(one.contains(key)) << key;
    if (!entry.is_tensor || is_of_one_rank(key)) continue;
    // Every element once, whatever the number of replicas: read_tensor refuses overlaps and gaps.
    EXPECT_TRUE(at::equal(hybrid.read_tensor(key), one.read_tensor(key))) << key;
    for (const DcpChunk& chunk : entry.chunks) {
      num_bytes_by_file[chunk.file] += chunk.num_bytes;
      num_bytes += chunk.num_bytes;
    }
  }
  // Ranks 2 and 3 hold copies of what ranks 0 and 1 wrote.
  EXPECT_THAT(num_bytes_by_file, testing::UnorderedElementsAre(testing::Key("__0_0.distcp"),
                                                               testing::Key("__1_0.distcp")));
  EXPECT_GT(num_bytes_by_file["__1_0.distcp"], num_bytes / 5);
}

using FastVideoCheckpoint = CheckpointsAcrossLayouts;

// Two ranks of FastVideo wrote it; its final weights were recorded beside it.
TEST_P(FastVideoCheckpoint, IsReadByAnyLayout) {
  const std::filesystem::path reference = "c09b_ckpt_2rank_shard";
  const SafetensorsFile recorded(reference / "trace_rank0.safetensors");
  for (const MeshSizes& sizes : {MeshSizes{.shard = 2}, MeshSizes{.replicate = 2, .shard = 2}}) {
    LayoutRun run{(reference / GetParam()).string()};
    run.num_steps = 3;  // those of the checkpoint, so that nothing is trained
    run.overrides = {"--training.checkpoint.resume_from_checkpoint=" + (reference / "out").string(),
                     "--training.distributed.num_gpus=" + std::to_string(sizes.num_ranks()),
                     "--training.distributed.sp_size=1",
                     "--training.distributed.hsdp_replicate_dim=" + std::to_string(sizes.replicate),
                     "--training.distributed.hsdp_shard_dim=" + std::to_string(sizes.shard)};
    try {
      train_on(sizes, run, (folder_ / "average").string());
      FAIL() << "the average of one rank must be refused";
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("only one rank's part"));
    }
    run.without_callbacks = {"ema"};
    const LayoutResult result = train_on(sizes, run, (folder_ / "weights").string());
    for (const auto& [name, weight] : result.weights) {
      const std::string parameter = name.substr(std::string("student.").size());
      EXPECT_TRUE(at::equal(weight, recorded.tensor("final.student." + parameter))) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sharded, FastVideoCheckpoint, testing::Values("config.yaml"));

INSTANTIATE_TEST_SUITE_P(Methods, CheckpointsAcrossLayouts,
                         testing::Values("c01_sft/config.yaml", "c02_dmd2_simulate/config.yaml"),
                         [](const auto& info) { return info.index == 0 ? "FineTune" : "Dmd2"; });

}  // namespace
}  // namespace zoetrope
