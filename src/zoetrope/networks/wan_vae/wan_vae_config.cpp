#include "zoetrope/networks/wan_vae/wan_vae_config.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/component_config.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

void check_unsupported(const ComponentConfig& file) {
  const auto class_name = file.get_or<std::string>("_class_name", "AutoencoderKLWan");
  if (class_name != "AutoencoderKLWan") {
    fail<CheckpointError>("{}: '_class_name' must be AutoencoderKLWan, but is {}", file.where(),
                          class_name);
  }
  if (file.get_or<bool>("is_residual", false) || file.get_or<int64_t>("patch_size", 1) != 1) {
    fail<CheckpointError>(
        "{}: must be the layout of Wan 2.1, but 'is_residual' or 'patch_size' is set (Wan 2.2)",
        file.where());
  }
  if (file.has("attn_scales") && !file.json().at("attn_scales").empty()) {
    fail<CheckpointError>("{}: 'attn_scales' must be empty, but is {}", file.where(),
                          file.json().at("attn_scales").dump());
  }
}

void check_lengths(const WanVaeConfig& config, const std::string& where) {
  if (config.dim_mult.empty() || config.temperal_downsample.size() + 1 != config.dim_mult.size()) {
    fail<CheckpointError>(
        "{}: 'temperal_downsample' must have one entry fewer than 'dim_mult', but they have {} and "
        "{}",
        where, config.temperal_downsample.size(), config.dim_mult.size());
  }
  const auto channels = static_cast<size_t>(config.z_dim);
  if (config.latents_mean.size() != channels || config.latents_std.size() != channels) {
    fail<CheckpointError>(
        "{}: 'latents_mean' and 'latents_std' must have z_dim = {} entries, but have {} and {}",
        where, config.z_dim, config.latents_mean.size(), config.latents_std.size());
  }
  if (std::any_of(config.latents_std.begin(), config.latents_std.end(),
                  [](double std) { return !(std > 0.0); })) {
    fail<CheckpointError>("{}: every entry of 'latents_std' must be positive", where);
  }
}

at::Tensor per_channel(const std::vector<double>& values, at::Device device) {
  return at::tensor(values, at::kDouble).to(device, at::kFloat).reshape({1, -1, 1, 1, 1});
}

}  // namespace

int64_t WanVaeConfig::spatial_ratio() const {
  return int64_t{1} << (dim_mult.size() - 1);
}

int64_t WanVaeConfig::temporal_ratio() const {
  return int64_t{1} << std::count(temperal_downsample.begin(), temperal_downsample.end(), true);
}

int64_t WanVaeConfig::num_latent_frames(int64_t num_frames) const {
  if (num_frames < 1 || (num_frames - 1) % temporal_ratio() != 0) {
    fail<DataError>("clip: the number of frames must be 1 plus a multiple of {}, but is {}",
                    temporal_ratio(), num_frames);
  }
  return 1 + (num_frames - 1) / temporal_ratio();
}

WanVaeConfig read_wan_vae_config(const std::filesystem::path& vae_folder) {
  const ComponentConfig file(vae_folder / "config.json");
  check_unsupported(file);
  WanVaeConfig config;
  config.base_dim = file.get_or("base_dim", config.base_dim);
  config.decoder_base_dim = file.get_or("decoder_base_dim", config.base_dim);
  config.z_dim = file.get_or("z_dim", config.z_dim);
  config.dim_mult = file.get_or("dim_mult", config.dim_mult);
  config.num_res_blocks = file.get_or("num_res_blocks", config.num_res_blocks);
  config.temperal_downsample = file.get_or("temperal_downsample", config.temperal_downsample);
  config.latents_mean = file.get_or("latents_mean", config.latents_mean);
  config.latents_std = file.get_or("latents_std", config.latents_std);
  config.in_channels = file.get_or("in_channels", config.in_channels);
  config.out_channels = file.get_or("out_channels", config.out_channels);
  check_lengths(config, file.where());
  return config;
}

LatentScale::LatentScale(const WanVaeConfig& config, at::Device device)
    : mean_1C111_(per_channel(config.latents_mean, device)),
      std_1C111_(per_channel(config.latents_std, device)) {}

at::Tensor LatentScale::normalize(const at::Tensor& latents_BCTHW) const {
  return ((latents_BCTHW.to(at::kFloat) - mean_1C111_) * std_1C111_.reciprocal())
      .to(latents_BCTHW.scalar_type());
}

at::Tensor LatentScale::denormalize(const at::Tensor& latents_BCTHW) const {
  return (latents_BCTHW.to(at::kFloat) * std_1C111_ + mean_1C111_).to(latents_BCTHW.scalar_type());
}

nlohmann::ordered_json to_json(const WanVaeConfig& config) {
  return {{"_class_name", "AutoencoderKLWan"},
          {"attn_scales", nlohmann::ordered_json::array()},
          {"base_dim", config.base_dim},
          {"decoder_base_dim", config.decoder_base_dim},
          {"dim_mult", config.dim_mult},
          {"in_channels", config.in_channels},
          {"latents_mean", config.latents_mean},
          {"latents_std", config.latents_std},
          {"num_res_blocks", config.num_res_blocks},
          {"out_channels", config.out_channels},
          {"temperal_downsample", config.temperal_downsample},
          {"z_dim", config.z_dim}};
}

}  // namespace zoetrope
