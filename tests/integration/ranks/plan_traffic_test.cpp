// The bytes that a plan says ranks send, against those that they count while they train.
#include <filesystem>

#include <gtest/gtest.h>

#include "integration/ranks/layout_run.h"
#include "support/golden.h"
#include "zoetrope/catalog.h"
#include "zoetrope/train/run_plan.h"

namespace zoetrope {
namespace {

using test::LayoutRun;

struct Case {
  const char* name;
  MeshSizes sizes;
  LayoutRun run;
};

class PlannedTraffic : public testing::TestWithParam<Case> {
 public:
  ~PlannedTraffic() override { std::filesystem::current_path(working_folder_); }

 protected:
  PlannedTraffic() { std::filesystem::current_path(test::reference_root()); }

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

// Rollouts end where the plan says without a draw.
const std::vector<std::string> kOneStep = {"--method.dmd_denoising_steps=[1000]",
                                           "--method.generator_update_interval=1"};

const std::vector<Case> kCases = {
    {"FineTuneSharded", {.shard = 2}, {"c01_sft/config.yaml", {}, 4, 2}},
    {"FineTuneReplicated", {.replicate = 2}, {"c01_sft/config.yaml", {}, 4, 2}},
    {"FineTuneHybrid",
     {.replicate = 2, .shard = 2},
     {"c01_sft/config.yaml", {"--training.data.train_batch_size=1"}, 4, 1}},
    {"FineTuneCheckpointed",
     {.shard = 2},
     {"c01_sft/config.yaml", {"--training.model.enable_gradient_checkpointing_type=full"}, 4, 1}},
    {"Lora",
     {.shard = 2},
     {"c01_sft/config.yaml",
      {"--training.data.train_batch_size=1", "--models.student.lora.enable=true",
       "--models.student.lora.rank=4"},
      4,
      1}},
    {"Dmd2", {.replicate = 2, .shard = 2}, {"c02_dmd2_simulate/config.yaml", kOneStep, 4, 1}},
    {"SelfForcing", {.shard = 2}, {"c04_sf_sde/config.yaml", kOneStep, 4, 1}},
    {"FineTuneSequence", {.shard = 2, .sequence = 2}, {"c01_sft/config.yaml", {}, 4, 1}},
    {"FineTuneSequenceCheckpointed",
     {.replicate = 2, .sequence = 2},
     {"c01_sft/config.yaml", {"--training.model.enable_gradient_checkpointing_type=full"}, 4, 2}},
    {"SelfForcingSequence",
     {.shard = 2, .sequence = 2},
     {"c04_sf_sde/config.yaml", kOneStep, 4, 1}},
    {"FineTuneTensor", {.tensor = 2}, {"c01_sft/config.yaml", {}, 4, 2}},
    {"FineTuneTensorCheckpointed",
     {.shard = 2, .tensor = 2},
     {"c01_sft/config.yaml",
      {"--training.data.train_batch_size=1",
       "--training.model.enable_gradient_checkpointing_type=full"},
      4,
      1}},
    {"LoraTensor",
     {.shard = 2, .tensor = 2},
     {"c01_sft/config.yaml",
      {"--training.data.train_batch_size=1", "--models.student.lora.enable=true",
       "--models.student.lora.rank=4"},
      4,
      1}},
    {"Dmd2Tensor", {.tensor = 2}, {"c02_dmd2_simulate/config.yaml", kOneStep, 4, 1}},
    {"SelfForcingTensor", {.tensor = 2}, {"c04_sf_sde/config.yaml", kOneStep, 4, 1}},
};

void set_layout(LayoutRun& run, const MeshSizes& sizes) {
  const auto set = [&](const char* key, int64_t value) {
    run.overrides.push_back(fmt::format("--training.distributed.{}={}", key, value));
  };
  set("num_gpus", sizes.num_ranks());
  set("hsdp_replicate_dim", sizes.replicate);
  set("hsdp_shard_dim", sizes.shard);
  set("sp_size", sizes.sequence);
  set("tp_size", sizes.tensor);
}

TEST_P(PlannedTraffic, is_what_ranks_send) {
  const auto& [name, sizes, run] = GetParam();
  LayoutRun planned = run;
  set_layout(planned, sizes);
  const Catalog catalog;
  const RunDescription description =
      describe_run({{"", test::read_config(planned, catalog)}}, 0, catalog.tables());
  std::map<std::string, double> expected;
  for (const LinkTraffic& traffic : plan_step(description, 8).traffic)
    expected[traffic.group] += traffic.bytes * static_cast<double>(run.num_steps);
  const auto sent = test::train_on(sizes, run).sent_bytes;
  EXPECT_FALSE(expected.empty());
  for (const auto& [group, bytes] : expected) {
    // Gradient norms and losses travel, too.
    EXPECT_NEAR(static_cast<double>(sent.at(group)) / bytes, 1.0, 0.01) << group;
  }
}

INSTANTIATE_TEST_SUITE_P(All, PlannedTraffic, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace zoetrope
