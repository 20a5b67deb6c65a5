// Makes the teacher's trajectories again that the reference made, from the same noise, through the
// real models and method.
#include <filesystem>

#include <gtest/gtest.h>

#include "golden/training/ignored_options.h"
#include "golden/training/recorded_trajectories.h"
#include "support/temporary_folder.h"
#include "zoetrope/catalog.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/networks/pipeline_folder.h"
#include "zoetrope/train/builder.h"

namespace zoetrope {
namespace {

using test::GoldenCase;

constexpr double kTolerance = 1e-5;
// States are rounded to bf16 after each step. Where a rounding falls on the other side, the element
// is off by bf16's last place, at most 2^-7 of it, which is more than the tolerance.
constexpr double kLastPlace = 1.0 / 128;
constexpr double kMostRoundedOtherwise = 5e-4;  ///< share of elements

class TeacherTrajectories : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override { std::filesystem::current_path(test::golden_root()); }
  void TearDown() override { std::filesystem::current_path(working_folder_); }

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

void expect_same_but_for_rounding(const at::Tensor& made, const at::Tensor& recorded, int64_t row) {
  const at::Tensor expected = recorded.to(at::kDouble);
  const at::Tensor difference = (made.to(at::kDouble) - expected).abs();
  EXPECT_TRUE(difference.le(kLastPlace * expected.abs()).all().item<bool>()) << row;
  const at::Tensor rounded_otherwise = difference.gt(kTolerance * expected.abs().max());
  EXPECT_LE(rounded_otherwise.to(at::kDouble).mean().item<double>(), kMostRoundedOtherwise) << row;
}

void expect_same(const Trajectory& made, const Trajectory& recorded, int64_t row) {
  EXPECT_TRUE(at::equal(made.timesteps_S, recorded.timesteps_S)) << row;
  EXPECT_TRUE(at::equal(made.text_embedding_LD, recorded.text_embedding_LD)) << row;
  EXPECT_TRUE(at::equal(made.text_attention_mask_L, recorded.text_attention_mask_L)) << row;
  EXPECT_EQ(made.latents_STCHW.scalar_type(), recorded.latents_STCHW.scalar_type());
  EXPECT_TRUE(at::equal(made.latents_STCHW[0], recorded.latents_STCHW[0])) << row;
  expect_same_but_for_rounding(made.latents_STCHW, recorded.latents_STCHW, row);
  EXPECT_TENSOR_CLOSE(made.clean_TCHW, recorded.clean_TCHW, kTolerance) << row;
}

TEST_P(TeacherTrajectories, MatchTheReference) {
  const GoldenCase golden(std::filesystem::absolute(GetParam()));
  const test::TemporaryFolder output;
  config::Node document = config::parse_yaml_file(golden.folder() / "config.yaml");
  config::apply_overrides(
      document, {"--training.distributed.device=cpu", "--training.model.compute_dtype=fp32",
                 "--method.teacher_path_cache=" + (output / "cache").string()});
  const Catalog catalog;
  test::apply_as_the_reference_does(document, catalog);
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
  recipe.flow_shift =
      config.pipeline.flow_shift.value_or(pipeline_flow_shift(method->student().pipeline_folder()));
  recipe.num_latent_frames = any.clean_TCHW.size(0);
  recipe.num_rows = num_rows;
  const TrajectoryCache cache(output / "cache", recipe);
  EXPECT_TRUE(cache.complete());
  for (const auto& [row, trajectory] : recorded) expect_same(cache.read(row), trajectory, row);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TeacherTrajectories);
INSTANTIATE_TEST_SUITE_P(Golden, TeacherTrajectories,
                         testing::ValuesIn(test::golden_folders_where(test::golden_root(),
                                                                      test::has_trajectories)),
                         test::golden_test_name);

TEST(TeacherTrajectoryCases, AreThere) {
  EXPECT_FALSE(test::golden_folders_where(test::reference_root(), test::has_trajectories).empty());
}

}  // namespace
}  // namespace zoetrope
