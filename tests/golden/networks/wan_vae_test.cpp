// The VAE against diffusers' AutoencoderKLWan: plain and tiled, encoder and decoder, every case of
// kind `wan_vae`.
#include "zoetrope/networks/wan_vae/wan_vae.h"

#include "support/golden.h"

namespace zoetrope {
namespace {

class WanVaeGolden : public testing::TestWithParam<std::filesystem::path> {};

WanVaeTiling read_tiling(const nlohmann::json& tiling) {
  return {.tile_height = tiling.at("tile_sample_min_height"),
          .tile_width = tiling.at("tile_sample_min_width"),
          .stride_height = tiling.at("tile_sample_stride_height"),
          .stride_width = tiling.at("tile_sample_stride_width")};
}

TEST_P(WanVaeGolden, EncodesAndDecodes) {
  const test::GoldenCase golden(GetParam());
  constexpr double kTolerance = 1e-5;
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

INSTANTIATE_TEST_SUITE_P(Golden, WanVaeGolden,
                         testing::ValuesIn(test::network_golden_folders("wan_vae")),
                         test::golden_test_name);

TEST(WanVaeCases, AreThere) {
  EXPECT_FALSE(test::network_golden_folders("wan_vae").empty());
}

}  // namespace
}  // namespace zoetrope
