#include "zoetrope/networks/conditioning.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

TEST(Conditioning, RowsAreConcatenatedMemberByMember) {
  Conditioning unconditional;
  unconditional.text_embedding_BLD = at::zeros({1, 4, 3});
  Conditioning conditional;
  conditional.text_embedding_BLD = at::ones({2, 4, 3});
  conditional.keyboard_BFK = at::randn({2, 5, 4});

  const Conditioning rows = concatenate_rows(unconditional, conditional);

  EXPECT_EQ(rows.num_rows(), 4);
  EXPECT_EQ(rows.text_embedding_BLD.select(1, 0).select(1, 0).sum().item<float>(), 2.0F);
  EXPECT_EQ(rows.text_embedding_BLD[3][0][0].item<float>(), 1.0F);
  // One that the first lacks is the same for both.
  EXPECT_TRUE(at::equal(rows.keyboard_BFK.narrow(0, 0, 2), conditional.keyboard_BFK));
  EXPECT_TRUE(at::equal(rows.keyboard_BFK.narrow(0, 2, 2), conditional.keyboard_BFK));
  EXPECT_FALSE(rows.mouse_BF2.defined());
  EXPECT_TRUE(
      at::equal(concatenate_rows(conditional, conditional).keyboard_BFK, rows.keyboard_BFK));
}

TEST(Conditioning, ConvertsWhatIsThere) {
  Conditioning conditioning;
  EXPECT_EQ(conditioning.num_rows(), 0);
  conditioning.mouse_BF2 = at::randn({3, 5, 2});
  const Conditioning converted = conditioning.to(at::kBFloat16);
  EXPECT_EQ(converted.mouse_BF2.scalar_type(), at::kBFloat16);
  EXPECT_EQ(converted.num_rows(), 3);
  EXPECT_FALSE(converted.text_embedding_BLD.defined());
}

}  // namespace
}  // namespace zoetrope
