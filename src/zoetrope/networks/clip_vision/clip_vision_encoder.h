// CLIP's vision transformer (inference only), as Wan uses it: the states before the last layer as
// image tokens, no pooling and no projection. Source: Radford et al. 2021 (CLIP), Dosovitskiy et
// al. 2021 (ViT); same files and results as transformers' CLIPVisionModel. Legend: B batch, L
// tokens (one for the class, then the patches in rows), D width.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

/// image_encoder/config.json; names and defaults as in transformers.
struct ClipVisionConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t image_size = 224;
  int64_t patch_size = 32;
  std::string hidden_act = "quick_gelu";  ///< or `gelu`
  double layer_norm_eps = 1e-5;

  int64_t num_tokens() const {
    const int64_t side = image_size / patch_size;
    return 1 + side * side;
  }
};

/// Reads `image_encoder_folder`/config.json. Throws CheckpointError for another architecture and
/// for sizes that do not fit together.
ClipVisionConfig read_clip_vision_config(const std::filesystem::path& image_encoder_folder);

/// What transformers writes for this config, `model_type` included.
nlohmann::ordered_json to_json(const ClipVisionConfig& config);

class ClipVisionEncoder {
 public:
  /// Loads `image_encoder_folder` (config.json and weights) with `dtype` fp32 or bf16. Throws
  /// CheckpointError that lists every missing, unexpected or wrong tensor.
  ClipVisionEncoder(const std::filesystem::path& image_encoder_folder, at::Device device,
                    at::ScalarType dtype);
  ~ClipVisionEncoder();
  ClipVisionEncoder(ClipVisionEncoder&&) noexcept;
  ClipVisionEncoder& operator=(ClipVisionEncoder&&) noexcept;

  /// Every tensor of a published weights file, in the order of the network.
  static std::vector<TensorSpec> weight_specs(const ClipVisionConfig& config);

  const ClipVisionConfig& config() const { return config_; }

  /// pixels: normalised [B, num_channels, image_size, image_size] (see ClipImageProcessor), of any
  /// type and device. Returns the hidden states before the last layer, [B, L, D], in the encoder's
  /// type on its device. Throws DataError for another size.
  at::Tensor encode(const at::Tensor& pixels_BCHW) const;

 private:
  struct Network;

  ClipVisionConfig config_;
  at::Device device_;
  at::ScalarType dtype_;
  std::unique_ptr<const Network> network_;
};

}  // namespace zoetrope
