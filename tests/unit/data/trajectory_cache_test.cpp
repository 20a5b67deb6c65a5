#include "zoetrope/data/trajectory_cache.h"

#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TrajectoryRecipe make_recipe() {
  return {.teacher = "models/teacher",
          .teacher_weights = "cafe",
          .num_steps = 2,
          .guidance_scale = 3.5,
          .flow_shift = 5.0,
          .data_path = "data/clips",
          .num_rows = 3};
}

Trajectory make_trajectory(double value) {
  return {at::full({2, 1, 4, 2, 2}, value, at::kBFloat16),
          at::tensor({int64_t{1000}, int64_t{833}}), at::full({1, 4, 2, 2}, -value),
          at::full({5, 3}, 0.5 * value), at::ones({5})};
}

fs::path sample(const fs::path& folder, const std::string& name) {
  return folder / "samples" / name;
}

class TrajectoryCacheTest : public testing::Test {
 protected:
  /// A cache with rows 0 and 2 of 3.
  TrajectoryCache make_partial() {
    TrajectoryCache cache(folder_.path(), make_recipe());
    cache.begin_writing();
    cache.write(0, make_trajectory(1.0));
    cache.write(2, make_trajectory(3.0));
    return cache;
  }
  std::string difference_of(const TrajectoryRecipe& recipe) {
    return error_of([&] { TrajectoryCache(folder_.path(), recipe); });
  }

  test::TemporaryFolder folder_;
};

TEST_F(TrajectoryCacheTest, ReadsWhatItWrote) {
  const Trajectory read = make_partial().read(2);
  const Trajectory written = make_trajectory(3.0);
  EXPECT_EQ(read.latents_STCHW.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(read.latents_STCHW, written.latents_STCHW));
  EXPECT_TRUE(at::equal(read.timesteps_S, written.timesteps_S));
  EXPECT_TRUE(at::equal(read.clean_TCHW, written.clean_TCHW));
  EXPECT_TRUE(at::equal(read.text_embedding_LD, written.text_embedding_LD));
  EXPECT_TRUE(at::equal(read.text_attention_mask_L, written.text_attention_mask_L));
}

TEST_F(TrajectoryCacheTest, KnowsWhatIsMissing) {
  TrajectoryCache cache(folder_.path(), make_recipe());
  EXPECT_THAT(cache.missing_rows(0, 3), ElementsAre(0, 1, 2));
  EXPECT_FALSE(cache.complete());
  make_partial();
  EXPECT_THAT(cache.missing_rows(0, 3), ElementsAre(1));
  EXPECT_THAT(cache.missing_rows(2, 3), IsEmpty());
  cache.write(1, make_trajectory(2.0));
  EXPECT_FALSE(cache.complete());
  cache.mark_complete();
  EXPECT_TRUE(cache.complete());
}

// A process that was killed leaves a part of a file under another name, or, with FastVideo, under
// the sample's own.
TEST_F(TrajectoryCacheTest, HalfWrittenFilesDoNotCount) {
  TrajectoryCache cache = make_partial();
  fs::resize_file(sample(folder_.path(), "00000002.pt"),
                  fs::file_size(sample(folder_.path(), "00000002.pt")) / 2);
  std::ofstream(sample(folder_.path(), "00000001.pt")).flush();
  const fs::path leftover = sample(folder_.path(), "00000001.pt.partial-77");
  fs::copy_file(sample(folder_.path(), "00000000.pt"), leftover);
  EXPECT_THAT(cache.missing_rows(0, 3), ElementsAre(1, 2));
  cache.begin_writing();
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_THAT(error_of([&] { cache.read(2); }),
              AllOf(HasSubstr("00000002.pt: must be a trajectory of the teacher"),
                    HasSubstr("delete it and")));
}

TEST_F(TrajectoryCacheTest, ACompleteCacheMustHaveEveryFile) {
  TrajectoryCache cache = make_partial();
  cache.mark_complete();
  EXPECT_THAT(error_of([&] { cache.complete(); }),
              AllOf(HasSubstr("00000001.pt: must be there"), HasSubstr("delete '")));
}

TEST_F(TrajectoryCacheTest, NamesEveryDifference) {
  make_partial();
  EXPECT_EQ(difference_of(make_recipe()), "no error");
  TrajectoryRecipe moved = make_recipe();
  moved.teacher = "elsewhere/teacher";
  moved.data_path = "elsewhere/clips";
  EXPECT_EQ(difference_of(moved), "no error");
  TrajectoryRecipe without_teacher = make_recipe();
  without_teacher.teacher = without_teacher.teacher_weights = "";
  EXPECT_EQ(difference_of(without_teacher), "no error");
  TrajectoryRecipe other = make_recipe();
  other.teacher_weights = "beef";
  other.num_steps = 4;
  other.guidance_scale = 1.0;
  other.flow_shift = 3.0;
  other.num_rows = 10;
  EXPECT_EQ(difference_of(other),
            folder_.path().string() +
                ": the trajectories must be made as this run would make them, but the number of "
                "rows is 3 there and 10 here; teacher_inference_steps is 2 there and 4 here; "
                "teacher_guidance_scale is 3.5 there and 1.0 here; flow_shift is 5.0 there and 3.0 "
                "here; the checksum of the teacher's weights is \"cafe\" there and \"beef\" here; "
                "name another folder, or delete this one to have it made anew");
}

TEST_F(TrajectoryCacheTest, RefusesAFolderWithoutUsableMetadata) {
  make_partial();
  write_file_atomically(folder_ / "metadata.json", "{\"total_samples\": 3");
  EXPECT_THAT(difference_of(make_recipe()),
              HasSubstr("must be the metadata of a trajectory cache"));
  fs::remove(folder_ / "metadata.json");
  EXPECT_THAT(difference_of(make_recipe()), HasSubstr("metadata.json: must say which teacher"));
}

// The folder that FastVideo wrote. Its config's guidance was never applied there.
TEST(FastVideoTrajectoryCache, IsRead) {
  const fs::path folder = test::reference_root() / "c08d_kd/kd_cache";
  TrajectoryRecipe recipe{.teacher = "_models/wan_b",
                          .teacher_weights = "any",
                          .num_steps = 6,
                          .guidance_scale = 1.0,
                          .flow_shift = 3.0,
                          .data_path = "_data/t2v",
                          .num_rows = 10};
  const TrajectoryCache cache(folder, recipe);
  EXPECT_THAT(cache.missing_rows(0, 4), ElementsAre(2, 3));
  const Trajectory trajectory = cache.read(1);
  EXPECT_EQ(trajectory.latents_STCHW.sizes(), at::IntArrayRef({6, 4, 16, 4, 6}));
  EXPECT_EQ(trajectory.latents_STCHW.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(trajectory.timesteps_S,
                        at::tensor(std::vector<int64_t>{1000, 937, 857, 750, 599, 375})));
  EXPECT_EQ(trajectory.text_embedding_LD.sizes(), at::IntArrayRef({512, 32}));
  recipe.guidance_scale = 3.5;
  recipe.teacher = "_models/wan_a";
  EXPECT_THAT(
      error_of([&] { TrajectoryCache(folder, recipe); }),
      AllOf(HasSubstr("teacher_guidance_scale is 1.0 there and 3.5 here"),
            HasSubstr("the teacher is \"_models/wan_b\" there and \"_models/wan_a\" here")));
}

}  // namespace
}  // namespace zoetrope
