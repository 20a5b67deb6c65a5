// What vae/config.json says about a Wan 2.1 VAE, and the scaling of its latents, which training
// needs without the network. Field names and defaults are those of diffusers' AutoencoderKLWan.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

namespace zoetrope {

struct WanVaeConfig {
  int64_t base_dim = 96;
  int64_t decoder_base_dim = 96;  ///< `null` in the file: as base_dim
  int64_t z_dim = 16;
  std::vector<int64_t> dim_mult = {1, 2, 4, 4};
  int64_t num_res_blocks = 2;
  std::vector<bool> temperal_downsample = {
      false, true, true};  ///< one per level but the last (diffusers' spelling)
  std::vector<double> latents_mean = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,
                                      -0.1517, 1.5508,  0.4134,  -0.0715, 0.5517,  -0.3632,
                                      -0.1922, -0.9497, 0.2503,  -0.2921};
  std::vector<double> latents_std = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708,
                                     2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
                                     1.6382, 1.1253, 2.8251, 1.9160};
  int64_t in_channels = 3;
  int64_t out_channels = 3;

  /// Pixels per latent in height and width: 2 for every level but the last.
  int64_t spatial_ratio() const;
  /// Frames per latent frame after the first: 2 for every temporal down-sampling.
  int64_t temporal_ratio() const;
  /// Latent frames of a clip of `num_frames` = 1 + k * temporal_ratio() frames. Throws DataError
  /// for other numbers.
  int64_t num_latent_frames(int64_t num_frames) const;
  int64_t num_frames(int64_t num_latent_frames) const {
    return 1 + (num_latent_frames - 1) * temporal_ratio();
  }
};

/// Reads `vae_folder`/config.json. Throws CheckpointError naming the file and what is wrong: not an
/// AutoencoderKLWan, a Wan 2.2 layout (is_residual, patch_size), attn_scales (diffusers cannot run
/// them either), lists of wrong length.
WanVaeConfig read_wan_vae_config(const std::filesystem::path& vae_folder);

/// What diffusers writes for this config, `_class_name` included.
nlohmann::ordered_json to_json(const WanVaeConfig& config);

/// Between the VAE's own latents and those the transformer sees: (x - mean_c) / std_c per channel.
class LatentScale {
 public:
  LatentScale(const WanVaeConfig& config, at::Device device);

  /// [B, C, T, H, W] of any type; computed in fp32, returned in the type of the input.
  at::Tensor normalize(const at::Tensor& latents_BCTHW) const;
  at::Tensor denormalize(const at::Tensor& latents_BCTHW) const;

 private:
  at::Tensor mean_1C111_;
  at::Tensor std_1C111_;
};

}  // namespace zoetrope
