// Decoding a clip in pieces gives the frames of decoding it whole, as diffusers does.
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/golden.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

constexpr double kTolerance = 1e-5;

GoldenCase vae_case() {
  return GoldenCase(std::filesystem::path(ZOETROPE_SOURCE_DIR) / "tests/golden/networks/wan_vae_0");
}

WanVae load_vae(const GoldenCase& golden) {
  return {golden.folder() / golden.json().at("folder").get<std::string>(), at::kCPU, at::kFloat};
}

at::Tensor decode_in_pieces(const WanVae& vae, const at::Tensor& latents,
                            const std::vector<int64_t>& sizes) {
  WanVaeDecoding clip;
  std::vector<at::Tensor> frames;
  for (const at::Tensor& piece : latents.split_with_sizes(sizes, 2)) {
    const int64_t num_frames = piece.size(2) * vae.config().temporal_ratio();
    const bool first = frames.empty();
    frames.push_back(vae.decode_next(piece, clip));
    EXPECT_EQ(frames.back().size(2), first ? vae.config().num_frames(piece.size(2)) : num_frames);
  }
  return at::cat(frames, 2);
}

TEST(IncrementalDecode, PiecesAreTheWholeClip) {
  const GoldenCase golden = vae_case();
  const WanVae vae = load_vae(golden);
  int num_split = 0;
  for (const auto& sample : golden.json().at("samples")) {
    const std::string name = sample.at("name");
    const at::Tensor latents = golden.tensor(name + ".latent");
    const at::Tensor whole = golden.tensor(name + ".decoded");
    const int64_t frames = latents.size(2);
    EXPECT_TENSOR_CLOSE(decode_in_pieces(vae, latents, {frames}), whole, kTolerance);
    if (frames < 2) continue;
    ++num_split;
    EXPECT_TENSOR_CLOSE(decode_in_pieces(vae, latents, {1, frames - 1}), whole, kTolerance);
    EXPECT_TENSOR_CLOSE(decode_in_pieces(vae, latents, {frames - 1, 1}), whole, kTolerance);
    EXPECT_TENSOR_CLOSE(decode_in_pieces(vae, latents, std::vector<int64_t>(frames, 1)), whole,
                        kTolerance);
  }
  EXPECT_GT(num_split, 0);
}

TEST(IncrementalDecode, TilesRememberTheirOwnFrames) {
  const GoldenCase golden = vae_case();
  WanVae vae = load_vae(golden);
  const int64_t ratio = vae.config().spatial_ratio();
  vae.set_tiling(WanVaeTiling{3 * ratio, 3 * ratio, 2 * ratio, 2 * ratio});
  const at::Tensor latents = at::randn({1, vae.config().z_dim, 5, 5, 7});
  EXPECT_TENSOR_CLOSE(decode_in_pieces(vae, latents, {2, 2, 1}), vae.decode(latents), kTolerance);
}

TEST(IncrementalDecode, PiecesOfAnotherSizeAreRefused) {
  const WanVae vae = load_vae(vae_case());
  WanVaeDecoding clip;
  vae.decode_next(at::zeros({1, vae.config().z_dim, 1, 2, 2}), clip);
  EXPECT_THAT(error_of([&] {
                vae.decode_next(at::zeros({1, vae.config().z_dim, 1, 2, 3}), clip);
              }),
              HasSubstr("the pieces of a clip must be alike"));
}

}  // namespace
}  // namespace zoetrope::test
