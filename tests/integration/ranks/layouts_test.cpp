// One result whatever the layout: the same samples on one rank (which accumulates gradients) and on
// several, in fp32.
#include <algorithm>
#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "integration/ranks/layout_run.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace zoetrope {
namespace {

using test::LayoutResult;
using test::LayoutRun;
using test::train_on;

constexpr int64_t kNumMicroBatches = 4;

struct Layout {
  const char* name;
  MeshSizes sizes;
};

const std::vector<Layout> kLayouts = {
    {"Replicated2", {.replicate = 2}},
    {"Sharded2", {.shard = 2}},
    {"Replicated4", {.replicate = 4}},
    {"Sharded4", {.shard = 4}},
    {"Hybrid2x2", {.replicate = 2, .shard = 2}},
    {"Sequence2", {.shard = 2, .sequence = 2}},
    {"Sequence2OfHybrid2x2", {.replicate = 2, .shard = 2, .sequence = 2}},
    {"Tensor2", {.tensor = 2}},
    {"Tensor2OfSharded4", {.shard = 2, .tensor = 2}},
};

struct Method {
  const char* name;
  const char* config;
  std::vector<std::string> overrides;
};

const std::vector<Method> kMethods = {
    {"FineTune", "c01_sft/config.yaml", {"--training.data.train_batch_size=1"}},
    {"Lora",
     "c01_sft/config.yaml",
     {"--training.data.train_batch_size=1", "--models.student.lora.enable=true",
      "--models.student.lora.rank=4",
      "--models.student.lora.target_modules=[to_q,to_k,to_v,to_out,ffn,proj_out]"}},
    {"Dmd2", "c02_dmd2_simulate/config.yaml", {}},
    {"SelfForcing", "c04_sf_sde/config.yaml", {}},
};

/// On a part of the layouts: their passes are those of the others.
const std::vector<Method> kOtherMethods = {
    {"Consistency", "c08c_causal_cd/config.yaml", {}},
    {"KnowledgeDistillation",
     "c08e_kd_causal/config.yaml",
     {"--method.draw_finished_blocks=true", "--method.teacher_guidance_scale=2.0"}},
};

std::vector<Layout> layouts_named(const std::vector<std::string>& names) {
  std::vector<Layout> layouts = kLayouts;
  std::erase_if(layouts, [&](const Layout& layout) {
    return std::find(names.begin(), names.end(), layout.name) == names.end();
  });
  return layouts;
}

/// Layouts whose ranks see other samples and compute all of a network.
std::vector<Layout> data_layouts() {
  std::vector<Layout> layouts = kLayouts;
  std::erase_if(layouts, [](const Layout& layout) {
    return layout.sizes.sequence > 1 || layout.sizes.tensor > 1;
  });
  return layouts;
}

class Layouts : public testing::TestWithParam<std::tuple<Method, Layout>> {
 public:
  ~Layouts() override { std::filesystem::current_path(working_folder_); }

 protected:
  // Paths in the recorded configs are relative to the folder of the cases.
  Layouts() { std::filesystem::current_path(test::reference_root()); }

  LayoutRun run_for(const Method& method, const MeshSizes& sizes,
                    const std::vector<std::string>& overrides = {}) {
    LayoutRun run{method.config, method.overrides};
    run.overrides.insert(run.overrides.end(), overrides.begin(), overrides.end());
    // Each run makes its own trajectories; but a teacher whose layers are split sums in another
    // order, which the states' bf16 makes larger than what is compared here.
    const bool makes_own = sizes.num_ranks() > 1 && sizes.tensor == 1;
    const char* cache = makes_own ? "several" : "one";
    if (method.name == std::string("KnowledgeDistillation"))
      run.overrides.push_back("--method.teacher_path_cache=" + (folder_ / cache).string());
    run.accumulation = kNumMicroBatches / sizes.num_data_groups();
    return run;
  }

 private:
  test::TemporaryFolder folder_;
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

double relative(double actual, double expected) {
  return std::abs(actual - expected) / std::max(std::abs(expected), 1e-12);
}

double relative_l2(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).norm() / expected.norm().clamp_min(1e-30)).item<double>();
}

TEST_P(Layouts, AgreeWithOneRank) {
  const auto& [method, layout] = GetParam();
  const LayoutResult one = train_on({}, run_for(method, {}));
  const LayoutResult several = train_on(layout.sizes, run_for(method, layout.sizes));
  ASSERT_EQ(several.logged.size(), one.logged.size());
  for (const auto& [step, metrics] : one.logged) {
    for (const auto& [name, value] : metrics) {
      if (name.find("loss") == std::string::npos && !name.starts_with("grad_norm/")) continue;
      EXPECT_LT(relative(several.logged.at(step).at(name), value), 1e-5) << step << " " << name;
    }
  }
  ASSERT_EQ(several.weights.size(), one.weights.size());
  for (const auto& [name, weight] : one.weights)
    EXPECT_LT(relative_l2(several.weights.at(name), weight), 1e-4) << name;
}

class DeterministicLayouts : public Layouts {};

TEST_P(DeterministicLayouts, HaveTheSameBits) {
  const auto& [method, layout] = GetParam();
  const std::vector<std::string> deterministic = {"--training.distributed.deterministic=true"};
  const LayoutResult one = train_on({}, run_for(method, {}, deterministic));
  const LayoutResult several = train_on(layout.sizes, run_for(method, layout.sizes, deterministic));
  for (const auto& [step, metrics] : one.logged) {
    for (const auto& [name, value] : metrics) {
      if (name.find("loss") == std::string::npos && !name.starts_with("grad_norm/")) continue;
      EXPECT_EQ(several.logged.at(step).at(name), value) << step << " " << name;
    }
  }
  for (const auto& [name, weight] : one.weights)
    EXPECT_TRUE(at::equal(several.weights.at(name), weight)) << name;
}

std::string case_name(const testing::TestParamInfo<std::tuple<Method, Layout>>& info) {
  return std::string(std::get<0>(info.param).name) + std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(All, Layouts,
                         testing::Combine(testing::ValuesIn(kMethods), testing::ValuesIn(kLayouts)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(All, DeterministicLayouts,
                         testing::Combine(testing::ValuesIn(kMethods),
                                          testing::ValuesIn(data_layouts())),
                         case_name);

INSTANTIATE_TEST_SUITE_P(Others, Layouts,
                         testing::Combine(testing::ValuesIn(kOtherMethods),
                                          testing::ValuesIn(layouts_named(
                                              {"Sharded2", "Sequence2OfHybrid2x2", "Tensor2"}))),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Others, DeterministicLayouts,
                         testing::Combine(testing::ValuesIn(kOtherMethods),
                                          testing::ValuesIn(layouts_named({"Hybrid2x2"}))),
                         case_name);

}  // namespace
}  // namespace zoetrope
