// The Wan 2.1 video VAE (inference only): pixels in [-1, 1] to latents and back, in chunks of
// frames, so that a long clip needs the memory of a few frames, and in tiles when asked. Source:
// Wan Team 2025, section 4.1; same files and results as diffusers' AutoencoderKLWan.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/networks/wan_vae/wan_vae_config.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

/// Spatial tiles, in pixels; each a multiple of the VAE's spatial ratio. Clips that fit one tile
/// are not tiled.
struct WanVaeTiling {
  int64_t tile_height = 256;
  int64_t tile_width = 256;
  int64_t stride_height = 192;
  int64_t stride_width = 192;
};

/// Distribution of latents, un-normalised, each [B, C, T, H, W].
struct WanVaePosterior {
  at::Tensor mean_BCTHW;
  at::Tensor logvar_BCTHW;  ///< limited to [-30, 20]
};

namespace wan_vae {
class ChunkHistory;
}

/// What decoding remembers of a clip between its pieces: a few frames of features in every layer,
/// whatever the length of the clip.
class WanVaeDecoding {
 public:
  WanVaeDecoding();
  ~WanVaeDecoding();
  WanVaeDecoding(WanVaeDecoding&&) noexcept;
  WanVaeDecoding& operator=(WanVaeDecoding&&) noexcept;

 private:
  friend class WanVae;

  std::vector<std::unique_ptr<wan_vae::ChunkHistory>> tiles_;  ///< in the order of decoding
  std::vector<int64_t> first_shape_;  ///< of the first piece; empty before it
};

class WanVae {
 public:
  /// Loads `vae_folder` (config.json and weights). Throws CheckpointError that lists every missing
  /// or wrong tensor.
  WanVae(const std::filesystem::path& vae_folder, at::Device device, at::ScalarType dtype);
  ~WanVae();
  WanVae(WanVae&&) noexcept;
  WanVae& operator=(WanVae&&) noexcept;

  /// Every tensor of a VAE's weights file, in the order of the network.
  static std::vector<TensorSpec> weight_specs(const WanVaeConfig& config);

  const WanVaeConfig& config() const { return config_; }
  /// Tiles from now on, or (std::nullopt) no longer. Throws Error for sizes that are not multiples
  /// of the spatial ratio or strides greater than tiles.
  void set_tiling(std::optional<WanVaeTiling> tiling);
  /// Chunks after the first frame take as many latent frames as make at most `num_pixels` pixels,
  /// at least one. Results do not depend on it (but for rounding), memory does.
  void set_pixels_per_chunk(int64_t num_pixels) { pixels_per_chunk_ = num_pixels; }

  /// pixels [B, in_channels, F, H, W] in [-1, 1], F = 1 + k * temporal ratio, H and W multiples of
  /// the spatial ratio, of any type and device; results in the VAE's type on its device. Throws
  /// DataError for other sizes.
  WanVaePosterior encode(const at::Tensor& pixels_BCFHW) const;
  /// The mean of encode().
  at::Tensor encode_mean(const at::Tensor& pixels_BCFHW) const {
    return encode(pixels_BCFHW).mean_BCTHW;
  }
  /// Un-normalised latents [B, z_dim, T, H, W] -> pixels [B, out_channels, F, H, W], limited to
  /// [-1, 1].
  at::Tensor decode(const at::Tensor& latents_BCTHW) const;
  /// Decodes the next latent frames of the clip that `clip` remembers (a new one: the first
  /// frames). The pieces together are decode() of the whole clip: 1 + ratio (T - 1) frames first,
  /// then ratio T of each piece. Throws DataError for another batch or size than the piece before.
  at::Tensor decode_next(const at::Tensor& latents_BCTHW, WanVaeDecoding& clip) const;

  /// Between un-normalised latents and those the transformer sees (see LatentScale).
  at::Tensor normalize(const at::Tensor& latents_BCTHW) const {
    return scale_.normalize(latents_BCTHW);
  }
  at::Tensor denormalize(const at::Tensor& latents_BCTHW) const {
    return scale_.denormalize(latents_BCTHW);
  }

 private:
  struct Networks;

  at::Tensor encode_tile(const at::Tensor& pixels_BCFHW) const;
  at::Tensor decode_tile(const at::Tensor& latents_BCTHW, bool starts,
                         wan_vae::ChunkHistory& history) const;
  bool needs_tiles(int64_t height, int64_t width) const;
  /// Latent frames per chunk when all frames of the batch at one time have `frame_pixels` pixels.
  int64_t chunk_latent_frames(int64_t frame_pixels) const;

  WanVaeConfig config_;
  at::Device device_;
  at::ScalarType dtype_;
  LatentScale scale_;
  std::optional<WanVaeTiling> tiling_;
  int64_t pixels_per_chunk_ =
      1 << 18;  ///< few large steps for small clips, bounded memory for large ones
  std::unique_ptr<const Networks> networks_;
};

}  // namespace zoetrope
