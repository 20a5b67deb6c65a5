// Windows of a long clip whose first latents are made anew, against diffusers' VAE.
#include "zoetrope/methods/distribution_matching/overlap_anchor.h"

#include <fmt/format.h>

#include "support/golden.h"

namespace zoetrope {
namespace {

constexpr double kTolerance = 1e-5;

TEST(OverlapAnchor, MatchesDiffusers) {
  const test::GoldenCase golden(test::network_golden_root() / "overlap_anchor_0");
  const std::filesystem::path root(ZOETROPE_SOURCE_DIR);
  const at::Tensor previous = golden.tensor("previous");
  for (const auto& item : golden.json().at("cases")) {
    const int64_t overlap = item.at("overlap");
    const int64_t num_anchor = item.at("anchor");
    const std::string name = fmt::format("overlap{}.anchor{}", overlap, num_anchor);
    SCOPED_TRACE(name);
    const OverlapAnchor anchor(root / golden.json().at("vae").get<std::string>(), at::kCPU,
                               num_anchor);
    const at::Tensor window = anchor.reencode(previous, overlap);
    EXPECT_TENSOR_CLOSE(window, golden.tensor(name), kTolerance);
    // The reference changes its anchor frames alone, and those a good deal.
    EXPECT_TRUE(at::equal(
        window.narrow(1, num_anchor, overlap - num_anchor),
        previous.narrow(1, previous.size(1) - overlap + num_anchor, overlap - num_anchor)));
    EXPECT_FALSE(at::allclose(window.narrow(1, 0, num_anchor),
                              previous.narrow(1, previous.size(1) - overlap, num_anchor), 0.05,
                              0.05));
  }
}

TEST(OverlapAnchor, HasNoMoreAnchorFramesThanTheOverlap) {
  const test::GoldenCase golden(test::network_golden_root() / "overlap_anchor_0");
  const OverlapAnchor anchor(
      std::filesystem::path(ZOETROPE_SOURCE_DIR) / golden.json().at("vae").get<std::string>(),
      at::kCPU, 7);
  const at::Tensor previous = golden.tensor("previous").requires_grad_();
  const at::Tensor window = anchor.reencode(previous, 3);
  EXPECT_TENSOR_CLOSE(window, golden.tensor("overlap3.anchor3"), kTolerance);
  EXPECT_FALSE(window.requires_grad());
}

}  // namespace
}  // namespace zoetrope
