// The VAE against diffusers' AutoencoderKLWan: plain and tiled, encoder and decoder, every case of
// kind `wan_vae`.
#include "zoetrope/networks/wan_vae/wan_vae.h"

#include "support/golden.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr double kTolerance = 1e-5;

class WanVaeGolden : public testing::TestWithParam<std::filesystem::path> {};

WanVaeTiling read_tiling(const nlohmann::json& tiling) {
  return {.tile_height = tiling.at("tile_sample_min_height"),
          .tile_width = tiling.at("tile_sample_min_width"),
          .stride_height = tiling.at("tile_sample_stride_height"),
          .stride_width = tiling.at("tile_sample_stride_width")};
}

TEST_P(WanVaeGolden, EncodesAndDecodes) {
  const test::GoldenCase golden(GetParam());
  WanVae vae(golden.folder() / golden.json().at("folder").get<std::string>(), at::kCPU, at::kFloat);
  for (const auto& sample : golden.json().at("samples")) {
    const std::string name = sample.at("name");
    SCOPED_TRACE(name);
    vae.set_tiling(std::nullopt);
    const WanVaePosterior posterior = vae.encode(golden.tensor(name + ".sample"));
    EXPECT_TENSOR_CLOSE(posterior.mean_BCTHW, golden.tensor(name + ".mean"), kTolerance);
    EXPECT_TENSOR_CLOSE(posterior.logvar_BCTHW, golden.tensor(name + ".logvar"), kTolerance);
    EXPECT_TENSOR_CLOSE(vae.decode(golden.tensor(name + ".latent")),
                        golden.tensor(name + ".decoded"), kTolerance);
    if (!sample.contains("tiling")) continue;
    vae.set_tiling(read_tiling(sample.at("tiling")));
    const WanVaePosterior tiled = vae.encode(golden.tensor(name + ".sample"));
    EXPECT_TENSOR_CLOSE(tiled.mean_BCTHW, golden.tensor(name + ".tiled_mean"), kTolerance);
    EXPECT_TENSOR_CLOSE(tiled.logvar_BCTHW, golden.tensor(name + ".tiled_logvar"), kTolerance);
    EXPECT_TENSOR_CLOSE(vae.decode(golden.tensor(name + ".latent")),
                        golden.tensor(name + ".tiled_decoded"), kTolerance);
  }
}

TEST_P(WanVaeGolden, FrameByFrameGivesTheSame) {
  const test::GoldenCase golden(GetParam());
  WanVae vae(golden.folder() / golden.json().at("folder").get<std::string>(), at::kCPU, at::kFloat);
  vae.set_pixels_per_chunk(1);
  for (const auto& sample : golden.json().at("samples")) {
    const std::string name = sample.at("name");
    SCOPED_TRACE(name);
    EXPECT_TENSOR_CLOSE(vae.encode_mean(golden.tensor(name + ".sample")),
                        golden.tensor(name + ".mean"), kTolerance);
    EXPECT_TENSOR_CLOSE(vae.decode(golden.tensor(name + ".latent")),
                        golden.tensor(name + ".decoded"), kTolerance);
  }
}

TEST_P(WanVaeGolden, NormalizationIsPerChannelAndInvertible) {
  const test::GoldenCase golden(GetParam());
  const WanVae vae(golden.folder() / golden.json().at("folder").get<std::string>(), at::kCPU,
                   at::kFloat);
  const at::Tensor latents = at::randn({1, vae.config().z_dim, 2, 3, 2});
  const at::Tensor normalized = vae.normalize(latents);
  const int64_t last = vae.config().z_dim - 1;
  EXPECT_TENSOR_CLOSE(normalized.select(1, last),
                      (latents.select(1, last) - vae.config().latents_mean.back()) /
                          vae.config().latents_std.back(),
                      1e-6);
  EXPECT_TENSOR_CLOSE(vae.denormalize(normalized), latents, 1e-6);
}

TEST_P(WanVaeGolden, RefusesSizesThatDoNotFit) {
  const test::GoldenCase golden(GetParam());
  WanVae vae(golden.folder() / golden.json().at("folder").get<std::string>(), at::kCPU, at::kFloat);
  const int64_t side = 2 * vae.config().spatial_ratio();
  EXPECT_THROW(vae.encode(at::zeros({1, 3, 2, side, side})), DataError);
  EXPECT_THROW(vae.encode(at::zeros({1, 3, 1, side + 1, side})), DataError);
  EXPECT_THROW(vae.encode(at::zeros({1, 4, 1, side, side})), DataError);
  EXPECT_THROW(vae.decode(at::zeros({1, vae.config().z_dim + 1, 1, 2, 2})), DataError);
  EXPECT_THROW(vae.set_tiling(WanVaeTiling{.tile_height = side + 1}), Error);
  EXPECT_THROW(vae.set_tiling(WanVaeTiling{.tile_height = side, .stride_height = 2 * side}), Error);
}

INSTANTIATE_TEST_SUITE_P(Golden, WanVaeGolden,
                         testing::ValuesIn(test::network_golden_folders("wan_vae")),
                         test::golden_test_name);

TEST(WanVaeCases, AreThere) {
  EXPECT_FALSE(test::network_golden_folders("wan_vae").empty());
}

}  // namespace
}  // namespace zoetrope
