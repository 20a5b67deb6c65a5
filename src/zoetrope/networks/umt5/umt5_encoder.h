// The UMT5 text encoder (inference only): T5 1.1 with its own relative position bias in every
// layer, gated GELU, and no scaling in the attention. Source: Chung et al. 2023 (UniMax), Raffel et
// al. 2020 (T5); same files and results as transformers' UMT5EncoderModel.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

/// text_encoder/config.json; names as in transformers.
struct Umt5Config {
  int64_t vocab_size = 256384;
  int64_t d_model = 4096;
  int64_t d_kv = 64;
  int64_t d_ff = 10240;
  int64_t num_layers = 24;
  int64_t num_heads = 64;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
};

/// Reads `text_encoder_folder`/config.json. Throws CheckpointError for missing sizes and for
/// another architecture.
Umt5Config read_umt5_config(const std::filesystem::path& text_encoder_folder);

/// What transformers writes for this config, `model_type` included.
nlohmann::ordered_json to_json(const Umt5Config& config);

class Umt5Encoder {
 public:
  /// Loads `text_encoder_folder` (config.json and weights). `dtype` is fp32 or bf16 (fp16 overflows
  /// in this network and is refused). Throws CheckpointError that lists every missing or wrong
  /// tensor.
  Umt5Encoder(const std::filesystem::path& text_encoder_folder, at::Device device,
              at::ScalarType dtype);
  ~Umt5Encoder();
  Umt5Encoder(Umt5Encoder&&) noexcept;
  Umt5Encoder& operator=(Umt5Encoder&&) noexcept;

  /// Every tensor of the weights file, in the order of the network.
  static std::vector<TensorSpec> weight_specs(const Umt5Config& config);

  const Umt5Config& config() const { return config_; }

  /// ids_BL: token ids, int64; mask_BL: 1 (or true) for tokens, 0 for padding, any type; both on
  /// any device. Returns [B, L, d_model] in the encoder's type on its device, padding positions
  /// included. Throws DataError for ids outside the vocabulary.
  at::Tensor encode(const at::Tensor& ids_BL, const at::Tensor& mask_BL) const;

 private:
  struct Network;

  Umt5Config config_;
  at::Device device_;
  at::ScalarType dtype_;
  std::unique_ptr<const Network> network_;
};

}  // namespace zoetrope
