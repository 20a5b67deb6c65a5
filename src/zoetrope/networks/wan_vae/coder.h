// The encoder and the decoder of the Wan VAE as stacks of layers; each forward pass takes one chunk
// of a clip.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "zoetrope/networks/wan_vae/layers.h"
#include "zoetrope/networks/wan_vae/wan_vae_config.h"

namespace zoetrope::wan_vae {

/// A convolution, layers, a norm and a convolution.
class Coder {
 public:
  Coder(CausalConv conv_in, std::vector<std::unique_ptr<Layer>> layers, RmsNorm norm_out,
        CausalConv conv_out);
  /// rows [T*B, C, H, W] of one chunk -> rows.
  at::Tensor forward(const at::Tensor& rows, ChunkHistory& history) const;

 private:
  CausalConv conv_in_;
  std::vector<std::unique_ptr<Layer>> layers_;
  RmsNorm norm_out_;
  CausalConv conv_out_;
};

/// Pixels to 2 z_dim channels (mean and log-variance before quant_conv). The first chunk is one
/// frame, later ones are multiples of the temporal ratio.
Coder make_encoder(WeightSource& weights, const WanVaeConfig& config);

/// z_dim channels (after post_quant_conv) to pixels. The first chunk is one latent frame, later
/// ones are of any length.
Coder make_decoder(WeightSource& weights, const WanVaeConfig& config);

}  // namespace zoetrope::wan_vae
