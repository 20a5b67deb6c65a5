#include "zoetrope/networks/wan_vae/coder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace zoetrope::wan_vae {
namespace {

using Layers = std::vector<std::unique_ptr<Layer>>;

void add_middle(Layers& layers, WeightSource& weights, const std::string& coder, int64_t channels) {
  const std::string name = coder + ".mid_block";
  layers.push_back(
      std::make_unique<ResidualBlock>(weights, name + ".resnets.0", channels, channels));
  layers.push_back(std::make_unique<AttentionBlock>(weights, name + ".attentions.0", channels));
  layers.push_back(
      std::make_unique<ResidualBlock>(weights, name + ".resnets.1", channels, channels));
}

}  // namespace

Coder::Coder(CausalConv conv_in, std::vector<std::unique_ptr<Layer>> layers, RmsNorm norm_out,
             CausalConv conv_out)
    : conv_in_(std::move(conv_in)),
      layers_(std::move(layers)),
      norm_out_(std::move(norm_out)),
      conv_out_(std::move(conv_out)) {}

at::Tensor Coder::forward(const at::Tensor& rows, ChunkHistory& history) const {
  history.begin_chunk();
  at::Tensor hidden = conv_in_.forward(rows, history);
  for (const auto& layer : layers_) hidden = layer->forward(hidden, history);
  return conv_out_.forward(norm_out_.forward_silu(hidden), history);
}

Coder make_encoder(WeightSource& weights, const WanVaeConfig& config) {
  CausalConv conv_in(weights, "encoder.conv_in", config.in_channels, config.base_dim, 3, 3);
  Layers layers;
  int64_t channels = config.base_dim;
  const auto next_name = [&] { return fmt::format("encoder.down_blocks.{}", layers.size()); };
  for (size_t level = 0; level < config.dim_mult.size(); ++level) {
    const int64_t level_channels = config.base_dim * config.dim_mult[level];
    for (int64_t block = 0; block < config.num_res_blocks; ++block) {
      layers.push_back(
          std::make_unique<ResidualBlock>(weights, next_name(), channels, level_channels));
      channels = level_channels;
    }
    if (level + 1 < config.dim_mult.size()) {
      layers.push_back(std::make_unique<Downsample>(weights, next_name(), channels,
                                                    config.temperal_downsample[level]));
    }
  }
  add_middle(layers, weights, "encoder", channels);
  RmsNorm norm_out(weights, "encoder.norm_out", channels, /*images=*/false);
  CausalConv conv_out(weights, "encoder.conv_out", channels, 2 * config.z_dim, 3, 3);
  return {std::move(conv_in), std::move(layers), std::move(norm_out), std::move(conv_out)};
}

Coder make_decoder(WeightSource& weights, const WanVaeConfig& config) {
  const size_t num_levels = config.dim_mult.size();
  int64_t channels = config.decoder_base_dim * config.dim_mult.back();
  CausalConv conv_in(weights, "decoder.conv_in", config.z_dim, channels, 3, 3);
  Layers layers;
  add_middle(layers, weights, "decoder", channels);
  for (size_t level = 0; level < num_levels; ++level) {
    const std::string name = fmt::format("decoder.up_blocks.{}", level);
    const int64_t level_channels =
        config.decoder_base_dim * config.dim_mult[num_levels - 1 - level];
    for (int64_t block = 0; block <= config.num_res_blocks; ++block) {
      layers.push_back(std::make_unique<ResidualBlock>(
          weights, fmt::format("{}.resnets.{}", name, block), channels, level_channels));
      channels = level_channels;
    }
    if (level + 1 < num_levels) {
      const bool temporal = config.temperal_downsample[num_levels - 2 - level];
      layers.push_back(
          std::make_unique<Upsample>(weights, name + ".upsamplers.0", channels, temporal));
      channels /= 2;
    }
  }
  RmsNorm norm_out(weights, "decoder.norm_out", channels, /*images=*/false);
  CausalConv conv_out(weights, "decoder.conv_out", channels, config.out_channels, 3, 3);
  return {std::move(conv_in), std::move(layers), std::move(norm_out), std::move(conv_out)};
}

}  // namespace zoetrope::wan_vae
