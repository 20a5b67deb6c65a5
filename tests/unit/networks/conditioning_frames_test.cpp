#include "zoetrope/networks/conditioning_frames.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

TEST(ConditioningFrames, TakeGivenFramesByLatentAndActionsByPixelFrame) {
  Conditioning clip;
  clip.text_embedding_BLD = at::ones({2, 3, 4});
  clip.image_embedding_BLD = at::ones({2, 5, 4});
  clip.image_latents_BTCHW = at::arange(6.0).view({1, 6, 1, 1, 1}).expand({2, 6, 20, 2, 2});
  clip.keyboard_BFK = at::arange(21.0).view({1, 21, 1}).expand({2, 21, 4});
  clip.mouse_BF2 = at::arange(21.0).view({1, 21, 1}).expand({2, 21, 2});
  const Conditioning frames = frames_of(clip, 2, 3);
  EXPECT_TRUE(frames.text_embedding_BLD.is_same(clip.text_embedding_BLD));
  EXPECT_TRUE(frames.image_embedding_BLD.is_same(clip.image_embedding_BLD));
  EXPECT_FALSE(frames.text_attention_mask_BL.defined());
  EXPECT_TRUE(at::equal(frames.image_latents_BTCHW, clip.image_latents_BTCHW.slice(1, 2, 5)));
  EXPECT_TRUE(at::equal(frames.keyboard_BFK, clip.keyboard_BFK.slice(1, 8, 17)));
  EXPECT_TRUE(at::equal(frames.mouse_BF2, clip.mouse_BF2.slice(1, 8, 17)));
  EXPECT_EQ(frames_of(clip, 0, 6).keyboard_BFK.size(1), 21);
  EXPECT_FALSE(frames_of(Conditioning(), 1, 2).keyboard_BFK.defined());
}

}  // namespace
}  // namespace zoetrope
