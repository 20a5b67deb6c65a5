// Makes the teacher's trajectories again that the reference made, from the same noise, through the
// real models and method.
#include <filesystem>

#include <gtest/gtest.h>

#include "golden/training/recorded_trajectories.h"
#include "support/temporary_folder.h"
#include "zoetrope/catalog.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/train/builder.h"

namespace zoetrope {
namespace {

using test::GoldenCase;

// States are rounded to bf16 after each step. Where a rounding falls on the other side, the state
// is off by bf16's last place, 2^-8 of it, and what follows by a little.
constexpr double kStateTolerance = 1e-2;
constexpr double kMostRoundedOtherwise = 2e-3;  ///< share of elements
constexpr double kCleanTolerance = 1e-3;

class TeacherTrajectories : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override { std::filesystem::current_path(test::golden_root()); }
  void TearDown() override { std::filesystem::current_path(working_folder_); }

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

void expect_same(const Trajectory& made, const Trajectory& recorded, int64_t row) {
  EXPECT_TRUE(at::equal(made.timesteps_S, recorded.timesteps_S)) << row;
  EXPECT_TRUE(at::equal(made.text_embedding_LD, recorded.text_embedding_LD)) << row;
  EXPECT_TRUE(at::equal(made.text_attention_mask_L, recorded.text_attention_mask_L)) << row;
  EXPECT_EQ(made.latents_STCHW.scalar_type(), recorded.latents_STCHW.scalar_type());
  EXPECT_TRUE(at::equal(made.latents_STCHW[0], recorded.latents_STCHW[0])) << row;
  EXPECT_TENSOR_CLOSE(made.latents_STCHW, recorded.latents_STCHW, kStateTolerance) << row;
  const at::Tensor differ = made.latents_STCHW.ne(recorded.latents_STCHW).to(at::kDouble);
  EXPECT_LE(differ.mean().item<double>(), kMostRoundedOtherwise) << row;
  EXPECT_TENSOR_CLOSE(made.clean_TCHW, recorded.clean_TCHW, kCleanTolerance) << row;
}

TEST_P(TeacherTrajectories, MatchTheReference) {
  const GoldenCase golden(std::filesystem::absolute(GetParam()));
  const test::TemporaryFolder output;
  config::Node document = config::parse_yaml_file(golden.folder() / "config.yaml");
  config::apply_overrides(
      document, {"--training.distributed.device=cpu", "--training.model.compute_dtype=fp32",
                 "--method.teacher_path_cache=" + (output / "cache").string()});
  const Catalog catalog;
  config::Issues issues;
  const RunConfig config = read_run_config(document, catalog.tables(), issues);
  issues.throw_if_any();
  const auto recorded = test::recorded_trajectories(golden, config);
  ASSERT_FALSE(recorded.empty());
  const Trajectory& any = recorded.begin()->second;

  test::ReplayRandomSource random(0.0, 1.0);
  const int64_t num_rows = test::num_recorded_rows(config);
  for (int64_t row = 0; row < num_rows; ++row) {
    const auto found = recorded.find(row);
    const Trajectory& trajectory = found == recorded.end() ? any : found->second;
    test::push_generation_draws(trajectory.latents_STCHW.narrow(0, 0, 1).to(at::kFloat), random);
  }
  const auto method = build_method(config, catalog.registries, random);
  const TrainingData data = build_data(config, *method);
  method->prepare_data(data.loader->rows(), Mesh());
  EXPECT_TRUE(random.empty());

  TrajectoryRecipe recipe;
  recipe.num_steps = any.timesteps_S.size(0);
  recipe.flow_shift = *config.pipeline.flow_shift;
  recipe.num_rows = num_rows;
  const TrajectoryCache cache(output / "cache", recipe);
  EXPECT_TRUE(cache.complete());
  for (const auto& [row, trajectory] : recorded) expect_same(cache.read(row), trajectory, row);
}

INSTANTIATE_TEST_SUITE_P(Golden, TeacherTrajectories,
                         testing::ValuesIn(test::golden_folders_where(test::golden_root(),
                                                                      test::has_trajectories)),
                         test::golden_test_name);

TEST(TeacherTrajectoryCases, AreThere) {
  EXPECT_FALSE(test::golden_folders_where(test::golden_root(), test::has_trajectories).empty());
}

}  // namespace
}  // namespace zoetrope
