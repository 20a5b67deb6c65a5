#include "zoetrope/networks/wan_vae/wan_vae_config.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

using nlohmann::json;

// Keeps the default when the key is absent, as diffusers does; null is kept only where a null has a
// meaning.
template <class T>
void read_field(const json& config, const char* key, T& value, const std::string& where) {
  const auto found = config.find(key);
  if (found == config.end()) return;
  try {
    value = found->get<T>();
  } catch (const json::exception&) {
    fail<CheckpointError>("{}: '{}' must be of the type that diffusers writes, but is {}", where,
                          key, found->dump());
  }
}

void check_unsupported(const json& config, const std::string& where) {
  if (config.value("_class_name", std::string("AutoencoderKLWan")) != "AutoencoderKLWan") {
    fail<CheckpointError>("{}: '_class_name' must be AutoencoderKLWan, but is {}", where,
                          config.at("_class_name").dump());
  }
  const auto is_set = [&](const char* key) {
    return config.contains(key) && !config.at(key).is_null() && config.at(key) != false &&
           config.at(key) != 1;
  };
  if (is_set("is_residual") || is_set("patch_size")) {
    fail<CheckpointError>(
        "{}: must be the layout of Wan 2.1, but 'is_residual' or 'patch_size' is set (Wan 2.2)",
        where);
  }
  if (config.contains("attn_scales") && !config.at("attn_scales").empty()) {
    fail<CheckpointError>("{}: 'attn_scales' must be empty, but is {}", where,
                          config.at("attn_scales").dump());
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
  const std::filesystem::path path = vae_folder / "config.json";
  const std::string where = path.string();
  const json parsed = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) fail<CheckpointError>("{}: must be a JSON object", where);
  check_unsupported(parsed, where);

  WanVaeConfig config;
  read_field(parsed, "base_dim", config.base_dim, where);
  config.decoder_base_dim = config.base_dim;
  if (parsed.contains("decoder_base_dim") && !parsed.at("decoder_base_dim").is_null()) {
    read_field(parsed, "decoder_base_dim", config.decoder_base_dim, where);
  }
  read_field(parsed, "z_dim", config.z_dim, where);
  read_field(parsed, "dim_mult", config.dim_mult, where);
  read_field(parsed, "num_res_blocks", config.num_res_blocks, where);
  read_field(parsed, "temperal_downsample", config.temperal_downsample, where);
  read_field(parsed, "latents_mean", config.latents_mean, where);
  read_field(parsed, "latents_std", config.latents_std, where);
  read_field(parsed, "in_channels", config.in_channels, where);
  read_field(parsed, "out_channels", config.out_channels, where);
  check_lengths(config, where);
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

}  // namespace zoetrope
