// What the teacher's unconditional score sees, for models with text, an image and actions.
#include "zoetrope/methods/distribution_matching/unconditional_policy.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/error_text.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

TrainingBatch batch_of(bool with_text) {
  TrainingBatch batch;
  if (with_text) batch.conditional.text_embedding_BLD = at::ones({2, 3, 4});
  batch.conditional.image_latents_BTCHW = at::ones({2, 1, 20, 2, 2});
  batch.conditional.keyboard_BFK = at::ones({2, 5, 4});
  batch.unconditional = batch.conditional;
  return batch;
}

TEST(UnconditionalPolicy, WithoutTextThereIsNothingToGuideAwayFrom) {
  const TrainingBatch batch = batch_of(false);
  EXPECT_FALSE(has_unconditional({}, batch.conditional));
  EXPECT_TRUE(
      unconditional_conditioning({}, batch).keyboard_BFK.is_same(batch.conditional.keyboard_BFK));
  EXPECT_TRUE(has_unconditional({}, batch_of(true).conditional));
  EXPECT_FALSE(has_unconditional({.text = "keep"}, batch_of(true).conditional));
}

TEST(UnconditionalPolicy, SetsToZeroWhatTheModelHas) {
  const TrainingBatch batch = batch_of(false);
  const UnconditionalPolicyConfig policy{.on_missing = "ignore", .image = "zero", .action = "zero"};
  EXPECT_TRUE(has_unconditional(policy, batch.conditional));
  const Conditioning conditions = unconditional_conditioning(policy, batch);
  EXPECT_TRUE(conditions.image_latents_BTCHW.eq(0).all().item<bool>());
  EXPECT_TRUE(conditions.keyboard_BFK.eq(0).all().item<bool>());
  EXPECT_FALSE(conditions.mouse_BF2.defined());
}

TEST(UnconditionalPolicy, TakesTheNegativePromptsTextAndKeepsTheRest) {
  TrainingBatch batch = batch_of(true);
  batch.unconditional.text_embedding_BLD = at::zeros({2, 3, 4});
  const Conditioning conditions = unconditional_conditioning({}, batch);
  EXPECT_TRUE(conditions.text_embedding_BLD.eq(0).all().item<bool>());
  EXPECT_TRUE(conditions.keyboard_BFK.is_same(batch.conditional.keyboard_BFK));
  batch.unconditional = {};
  EXPECT_THAT(error_of([&] { unconditional_conditioning({}, batch); }),
              HasSubstr("must have the negative prompt's embedding"));
}

}  // namespace
}  // namespace zoetrope::test
