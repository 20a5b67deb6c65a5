// What ranks send each other in a step, counted and compared with the formulas of decision 0012.
#include <filesystem>
#include <numeric>

#include <gtest/gtest.h>

#include "integration/ranks/layout_run.h"
#include "support/golden.h"

namespace zoetrope {
namespace {

using test::LayoutResult;
using test::LayoutRun;
using test::train_on;

constexpr int64_t kFp32Bytes = 4;

class Communication : public testing::Test {
 public:
  ~Communication() override { std::filesystem::current_path(working_folder_); }

 protected:
  Communication() { std::filesystem::current_path(test::reference_root()); }

  static LayoutResult fine_tune(const MeshSizes& sizes, int64_t num_steps, int64_t accumulation) {
    LayoutRun run{"c01_sft/config.yaml", {"--training.data.train_batch_size=1"}};
    run.num_steps = num_steps;
    run.accumulation = accumulation;
    return train_on(sizes, run);
  }

  /// Of one micro-batch: values of the blocks gathered twice, of the root once; gradients once.
  static int64_t sharding_bytes(const LayoutResult& result, int64_t num_shards) {
    const auto& groups = result.group_elements;
    const int64_t all = std::accumulate(groups.begin(), groups.end(), int64_t{0});
    const int64_t gathered = 2 * all - groups.back();
    return (gathered + all) * kFp32Bytes * (num_shards - 1) / num_shards;
  }

  /// Of one step: partial sums of squares for the gradient norm, one for 16384 elements.
  static int64_t norm_bytes(const LayoutResult& result, int64_t num_shards) {
    constexpr int64_t kSumBlock = 16384;
    int64_t num_sums = 0;
    for (const int64_t elements : result.group_elements)
      num_sums += elements / num_shards / kSumBlock;
    return num_sums * static_cast<int64_t>(sizeof(double)) * (num_shards - 1);
  }

  /// Of one step: the sum over replicas of a rank's gradient shards, however many micro-batches.
  static int64_t replica_bytes(const LayoutResult& result, const MeshSizes& sizes) {
    int64_t shard = 0;
    for (const int64_t elements : result.group_elements) shard += elements / sizes.shard;
    return 2 * shard * kFp32Bytes * (sizes.replicate - 1) / sizes.replicate;
  }

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

TEST_F(Communication, ShardsAreGatheredForEachPassAndGradientsSentOnce) {
  constexpr int64_t kNumSteps = 3;
  constexpr int64_t kNumRounds = 2;
  for (const int64_t num_shards : {2, 4}) {
    const LayoutResult result = fine_tune({.shard = num_shards}, kNumSteps, kNumRounds);
    EXPECT_EQ(result.sent_bytes.at("shard"),
              kNumSteps * (kNumRounds * sharding_bytes(result, num_shards) +
                           norm_bytes(result, num_shards)));
    EXPECT_EQ(result.sent_bytes.at("replicate"), 0);
  }
}

TEST_F(Communication, ReplicasExchangeOnceAStepHoweverManyMicroBatches) {
  constexpr int64_t kNumSteps = 3;
  const MeshSizes hybrid{.replicate = 2, .shard = 2};
  for (const int64_t num_rounds : {1, 3}) {
    const LayoutResult result = fine_tune(hybrid, kNumSteps, num_rounds);
    EXPECT_EQ(result.sent_bytes.at("replicate"), kNumSteps * replica_bytes(result, hybrid));
  }
}

TEST_F(Communication, ReplicasWithoutShardsGatherNothing) {
  const MeshSizes replicated{.replicate = 2};
  const LayoutResult result = fine_tune(replicated, 2, 1);
  EXPECT_EQ(result.sent_bytes.at("replicate"), 2 * replica_bytes(result, replicated));
  EXPECT_EQ(result.sent_bytes.at("shard"), 0);
}

}  // namespace
}  // namespace zoetrope
