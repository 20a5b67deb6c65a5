// Which frames a block of a causal network sees.
#include "zoetrope/networks/wan_transformer/causal_attention.h"

#include <gmock/gmock.h>

#include "support/error_text.h"

namespace zoetrope::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

CausalAttention attention(int64_t block, std::optional<int64_t> window, int64_t sinks) {
  return {.num_frames_per_block = block, .local_attn_size = window, .sink_size = sinks};
}

TEST(VisibleFrames, AreAllOfThePastWithoutAWindow) {
  EXPECT_THAT(visible_frames(attention(3, std::nullopt, 0), 9), ElementsAre(IndexRange{0, 9}));
  EXPECT_THAT(visible_frames(attention(3, std::nullopt, 2), 9), ElementsAre(IndexRange{0, 9}));
}

TEST(VisibleFrames, AreTheLastOnesAndTheSinks) {
  EXPECT_THAT(visible_frames(attention(2, 4, 0), 4), ElementsAre(IndexRange{0, 4}));
  EXPECT_THAT(visible_frames(attention(2, 4, 0), 6), ElementsAre(IndexRange{2, 6}));
  // The window counts the sinks.
  EXPECT_THAT(visible_frames(attention(2, 4, 1), 6),
              ElementsAre(IndexRange{0, 1}, IndexRange{3, 6}));
  EXPECT_THAT(visible_frames(attention(2, 4, 1), 4), ElementsAre(IndexRange{0, 4}));
}

TEST(BlockCausalRegions, CoverTheClipAndItsShorterLastBlock) {
  const AttentionRegions regions = block_causal_regions(attention(2, std::nullopt, 0), 5, 10);
  ASSERT_EQ(regions.size(), 3U);
  EXPECT_EQ(regions[1].queries, (IndexRange{20, 40}));
  EXPECT_THAT(regions[1].keys, ElementsAre(IndexRange{0, 40}));
  EXPECT_EQ(regions[2].queries, (IndexRange{40, 50}));
  EXPECT_THAT(regions[2].keys, ElementsAre(IndexRange{0, 50}));
}

TEST(TeacherForcingRegions, ShowNoisyBlocksTheCleanPast) {
  const AttentionRegions regions = teacher_forcing_regions(attention(2, std::nullopt, 0), 4, 10);
  ASSERT_EQ(regions.size(), 4U);
  EXPECT_THAT(regions[1].keys, ElementsAre(IndexRange{0, 40}));
  EXPECT_EQ(regions[2].queries, (IndexRange{40, 60}));
  EXPECT_THAT(regions[2].keys, ElementsAre(IndexRange{40, 60}));
  EXPECT_EQ(regions[3].queries, (IndexRange{60, 80}));
  EXPECT_THAT(regions[3].keys, ElementsAre(IndexRange{0, 20}, IndexRange{60, 80}));
  EXPECT_EQ(regions[3].num_keys(), 40);
}

TEST(TeacherForcingRegions, KeepTheWindowAndTheSinks) {
  const AttentionRegions regions = teacher_forcing_regions(attention(1, 3, 1), 5, 1);
  EXPECT_THAT(regions[9].keys, ElementsAre(IndexRange{0, 1}, IndexRange{3, 4}, IndexRange{9, 10}));
}

TEST(CausalAttention, MustHoldABlockBesideTheSinks) {
  EXPECT_NO_THROW(attention(3, 4, 1).check());
  EXPECT_THAT(error_of([] { attention(3, 3, 1).check(); }),
              HasSubstr("local_attn_size must hold the sinks and a block, 1 + 3 frames, but is 3"));
  EXPECT_THAT(error_of([] { attention(0, 3, 1).check(); }), HasSubstr("num_frames_per_block"));
}

}  // namespace
}  // namespace zoetrope::test
