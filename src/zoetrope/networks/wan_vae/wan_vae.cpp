#include "zoetrope/networks/wan_vae/wan_vae.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/wan_vae/coder.h"
#include "zoetrope/networks/wan_vae/tiling.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

using wan_vae::ChunkHistory;

// [B, C, T, H, W] -> [T*B, C, H, W], channels last in memory.
at::Tensor to_rows(const at::Tensor& clip_BCTHW) {
  return clip_BCTHW.permute({2, 0, 1, 3, 4})
      .flatten(0, 1)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor to_clip(const at::Tensor& rows, int64_t batch) {
  return rows.unflatten(0, {-1, batch}).permute({1, 2, 0, 3, 4}).contiguous();
}

}  // namespace

WanVaeDecoding::WanVaeDecoding() = default;
WanVaeDecoding::~WanVaeDecoding() = default;
WanVaeDecoding::WanVaeDecoding(WanVaeDecoding&&) noexcept = default;
WanVaeDecoding& WanVaeDecoding::operator=(WanVaeDecoding&&) noexcept = default;

struct WanVae::Networks {
  Networks(WeightSource& weights, const WanVaeConfig& config)
      : encoder(wan_vae::make_encoder(weights, config)),
        quant_conv(weights, "quant_conv", 2 * config.z_dim, 2 * config.z_dim, 1, 1),
        post_quant_conv(weights, "post_quant_conv", config.z_dim, config.z_dim, 1, 1),
        decoder(wan_vae::make_decoder(weights, config)) {}

  wan_vae::Coder encoder;
  wan_vae::CausalConv quant_conv;
  wan_vae::CausalConv post_quant_conv;
  wan_vae::Coder decoder;
};

std::vector<TensorSpec> WanVae::weight_specs(const WanVaeConfig& config) {
  SpecRecorder recorder;
  const Networks networks(recorder, config);
  return recorder.specs();
}

WanVae::WanVae(const std::filesystem::path& vae_folder, at::Device device, at::ScalarType dtype)
    : config_(read_wan_vae_config(vae_folder)),
      device_(device),
      dtype_(dtype),
      scale_(config_, device) {
  const WeightFolder folder(vae_folder);
  LoadedWeights weights(folder.load_strict(weight_specs(config_)), device, dtype);
  networks_ = std::make_unique<const Networks>(weights, config_);
}

WanVae::~WanVae() = default;
WanVae::WanVae(WanVae&&) noexcept = default;
WanVae& WanVae::operator=(WanVae&&) noexcept = default;

void WanVae::set_tiling(std::optional<WanVaeTiling> tiling) {
  if (tiling) {
    const int64_t ratio = config_.spatial_ratio();
    for (int64_t size :
         {tiling->tile_height, tiling->tile_width, tiling->stride_height, tiling->stride_width}) {
      if (size <= 0 || size % ratio != 0) {
        fail<Error>("VAE tiling: sizes must be positive multiples of {}, but one is {}", ratio,
                    size);
      }
    }
    if (tiling->stride_height > tiling->tile_height || tiling->stride_width > tiling->tile_width) {
      fail<Error>("VAE tiling: strides {}x{} must not exceed tiles {}x{}", tiling->stride_height,
                  tiling->stride_width, tiling->tile_height, tiling->tile_width);
    }
  }
  tiling_ = tiling;
}

bool WanVae::needs_tiles(int64_t height, int64_t width) const {
  return tiling_ && (height > tiling_->tile_height || width > tiling_->tile_width);
}

int64_t WanVae::chunk_latent_frames(int64_t frame_pixels) const {
  return std::max<int64_t>(1, pixels_per_chunk_ / (frame_pixels * config_.temporal_ratio()));
}

WanVaePosterior WanVae::encode(const at::Tensor& pixels_BCFHW) const {
  const c10::NoGradGuard no_gradients;
  const int64_t ratio = config_.spatial_ratio();
  if (pixels_BCFHW.dim() != 5 || pixels_BCFHW.size(1) != config_.in_channels) {
    fail<DataError>("VAE encode: pixels must be [B, {}, F, H, W], but have shape {}",
                    config_.in_channels, format_shape(pixels_BCFHW.sizes()));
  }
  const int64_t height = pixels_BCFHW.size(3);
  const int64_t width = pixels_BCFHW.size(4);
  if (height % ratio != 0 || width % ratio != 0) {
    fail<DataError>("VAE encode: height and width must be multiples of {}, but are {}x{}", ratio,
                    height, width);
  }
  config_.num_latent_frames(pixels_BCFHW.size(2));
  const auto encode_one = [this](const at::Tensor& tile) { return encode_tile(tile); };
  at::Tensor moments;
  if (needs_tiles(height, width)) {
    const wan_vae::TileGrid grid{
        .input_size = {tiling_->tile_height, tiling_->tile_width},
        .input_stride = {tiling_->stride_height, tiling_->stride_width},
        .output_size = {tiling_->tile_height / ratio, tiling_->tile_width / ratio},
        .output_stride = {tiling_->stride_height / ratio, tiling_->stride_width / ratio}};
    moments = wan_vae::process_in_tiles(pixels_BCFHW, grid, encode_one);
  } else {
    moments = encode_tile(pixels_BCFHW);
  }
  return {moments.narrow(1, 0, config_.z_dim).contiguous(),
          moments.narrow(1, config_.z_dim, config_.z_dim).clamp(-30.0, 20.0)};
}

at::Tensor WanVae::encode_tile(const at::Tensor& pixels_BCFHW) const {
  const int64_t batch = pixels_BCFHW.size(0);
  const int64_t num_frames = pixels_BCFHW.size(2);
  const int64_t frame_pixels = batch * pixels_BCFHW.size(3) * pixels_BCFHW.size(4);
  const int64_t chunk = config_.temporal_ratio() * chunk_latent_frames(frame_pixels);
  ChunkHistory history(batch);
  std::vector<at::Tensor> moments;
  for (int64_t start = 0; start < num_frames;) {
    const int64_t count = start == 0 ? 1 : std::min(chunk, num_frames - start);
    const at::Tensor frames = pixels_BCFHW.narrow(2, start, count).to(device_, dtype_);
    const at::Tensor rows = networks_->encoder.forward(to_rows(frames), history);
    moments.push_back(networks_->quant_conv.forward(rows));
    start += count;
  }
  return to_clip(at::cat(moments), batch);
}

at::Tensor WanVae::decode(const at::Tensor& latents_BCTHW) const {
  WanVaeDecoding clip;
  return decode_next(latents_BCTHW, clip);
}

at::Tensor WanVae::decode_next(const at::Tensor& latents_BCTHW, WanVaeDecoding& clip) const {
  const c10::NoGradGuard no_gradients;
  if (latents_BCTHW.dim() != 5 || latents_BCTHW.size(1) != config_.z_dim) {
    fail<DataError>("VAE decode: latents must be [B, {}, T, H, W], but have shape {}",
                    config_.z_dim, format_shape(latents_BCTHW.sizes()));
  }
  const bool starts = clip.first_shape_.empty();
  if (starts) clip.first_shape_ = latents_BCTHW.sizes().vec();
  for (const size_t dim : {0UL, 3UL, 4UL}) {
    if (clip.first_shape_[dim] != latents_BCTHW.size(static_cast<int64_t>(dim))) {
      fail<DataError>(
          "VAE decode: the pieces of a clip must be alike but for their length, but one of shape "
          "{} follows one of {}",
          format_shape(latents_BCTHW.sizes()), format_shape(clip.first_shape_));
    }
  }
  size_t next_tile = 0;
  const auto decode_one = [&](const at::Tensor& tile) {
    if (starts) clip.tiles_.push_back(std::make_unique<ChunkHistory>(tile.size(0)));
    return decode_tile(tile, starts, *clip.tiles_[next_tile++]);
  };
  const int64_t ratio = config_.spatial_ratio();
  if (!needs_tiles(latents_BCTHW.size(3) * ratio, latents_BCTHW.size(4) * ratio))
    return decode_one(latents_BCTHW).clamp_(-1.0, 1.0);
  const wan_vae::TileGrid grid{
      .input_size = {tiling_->tile_height / ratio, tiling_->tile_width / ratio},
      .input_stride = {tiling_->stride_height / ratio, tiling_->stride_width / ratio},
      .output_size = {tiling_->tile_height, tiling_->tile_width},
      .output_stride = {tiling_->stride_height, tiling_->stride_width}};
  return wan_vae::process_in_tiles(latents_BCTHW, grid, decode_one).clamp(-1.0, 1.0);
}

at::Tensor WanVae::decode_tile(const at::Tensor& latents_BCTHW, bool starts,
                               ChunkHistory& history) const {
  const int64_t batch = latents_BCTHW.size(0);
  const int64_t num_frames = latents_BCTHW.size(2);
  const int64_t ratio = config_.spatial_ratio();
  const int64_t frame_pixels =
      batch * latents_BCTHW.size(3) * latents_BCTHW.size(4) * ratio * ratio;
  const int64_t chunk = chunk_latent_frames(frame_pixels);
  std::vector<at::Tensor> pixels;
  for (int64_t start = 0; start < num_frames;) {
    const int64_t count = starts && start == 0 ? 1 : std::min(chunk, num_frames - start);
    const at::Tensor frames = latents_BCTHW.narrow(2, start, count).to(device_, dtype_);
    const at::Tensor rows = networks_->post_quant_conv.forward(to_rows(frames));
    pixels.push_back(networks_->decoder.forward(rows, history));
    start += count;
  }
  return to_clip(at::cat(pixels), batch);
}

}  // namespace zoetrope
