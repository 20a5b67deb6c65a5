#include "zoetrope/networks/umt5/umt5_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/component_config.h"
#include "zoetrope/networks/umt5/umt5_layers.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

// transformers 5 stores the tied embedding once; other writers store it again under the second
// name.
constexpr const char* kEmbedding = "shared.weight";
constexpr const char* kTiedEmbedding = "encoder.embed_tokens.weight";

}  // namespace

Umt5Config read_umt5_config(const std::filesystem::path& text_encoder_folder) {
  const ComponentConfig file(text_encoder_folder / "config.json");
  const auto model_type = file.get_or<std::string>("model_type", "umt5");
  const auto feed_forward = file.get_or<std::string>("feed_forward_proj", "gated-gelu");
  if (model_type != "umt5" || feed_forward != "gated-gelu") {
    fail<CheckpointError>("{}: must be a 'umt5' model with 'gated-gelu', but is '{}' with '{}'",
                          file.where(), model_type, feed_forward);
  }
  Umt5Config config;
  config.vocab_size = file.require<int64_t>("vocab_size");
  config.d_model = file.require<int64_t>("d_model");
  config.d_kv = file.require<int64_t>("d_kv");
  config.d_ff = file.require<int64_t>("d_ff");
  config.num_layers = file.require<int64_t>("num_layers");
  config.num_heads = file.require<int64_t>("num_heads");
  config.relative_attention_num_buckets =
      file.get_or("relative_attention_num_buckets", config.relative_attention_num_buckets);
  config.relative_attention_max_distance =
      file.get_or("relative_attention_max_distance", config.relative_attention_max_distance);
  config.layer_norm_epsilon = file.get_or("layer_norm_epsilon", config.layer_norm_epsilon);
  return config;
}

struct Umt5Encoder::Network {
  Network(WeightSource& weights, const Umt5Config& config)
      : embedding(weights.get(kEmbedding, {config.vocab_size, config.d_model})) {
    for (int64_t i = 0; i < config.num_layers; ++i) {
      blocks.emplace_back(weights, fmt::format("encoder.block.{}", i), config);
    }
    final_norm.emplace(weights, "encoder.final_layer_norm", config);
  }

  at::Tensor embedding;
  std::vector<umt5::Block> blocks;
  std::optional<umt5::RmsNorm> final_norm;
};

std::vector<TensorSpec> Umt5Encoder::weight_specs(const Umt5Config& config) {
  SpecRecorder recorder;
  const Network network(recorder, config);
  return recorder.specs();
}

Umt5Encoder::Umt5Encoder(const std::filesystem::path& text_encoder_folder, at::Device device,
                         at::ScalarType dtype)
    : config_(read_umt5_config(text_encoder_folder)), device_(device), dtype_(dtype) {
  if (dtype != at::kFloat && dtype != at::kBFloat16) {
    fail<Error>("UMT5: the type must be fp32 or bf16, but is {}", dtype_name(dtype));
  }
  const WeightFolder folder(text_encoder_folder);
  LoadedWeights weights(folder.load_strict(weight_specs(config_), {kTiedEmbedding}), device, dtype);
  network_ = std::make_unique<const Network>(weights, config_);
}

Umt5Encoder::~Umt5Encoder() = default;
Umt5Encoder::Umt5Encoder(Umt5Encoder&&) noexcept = default;
Umt5Encoder& Umt5Encoder::operator=(Umt5Encoder&&) noexcept = default;

at::Tensor Umt5Encoder::encode(const at::Tensor& ids_BL, const at::Tensor& mask_BL) const {
  const c10::NoGradGuard no_gradients;
  if (ids_BL.dim() != 2 || ids_BL.sizes() != mask_BL.sizes()) {
    fail<DataError>("UMT5: ids and mask must be [B, L], but have shapes {} and {}",
                    format_shape(ids_BL.sizes()), format_shape(mask_BL.sizes()));
  }
  const at::Tensor ids = ids_BL.to(at::kLong);
  if (ids.numel() > 0 && ids.device().is_cpu()) {
    const int64_t greatest = ids.max().item<int64_t>();
    if (greatest >= config_.vocab_size || ids.min().item<int64_t>() < 0) {
      fail<DataError>(
          "UMT5: token ids must be below vocab_size = {}, but one is {}; the tokenizer belongs to "
          "another model",
          config_.vocab_size, greatest);
    }
  }
  const at::Tensor buckets_LL = umt5::relative_position_buckets(ids.size(1), config_).to(device_);
  const at::Tensor hidden_from = mask_BL.to(device_).eq(0).unsqueeze(1).unsqueeze(1);
  at::Tensor hidden_BLD = at::embedding(network_->embedding, ids.to(device_));
  for (const umt5::Block& block : network_->blocks)
    hidden_BLD = block.forward(hidden_BLD, buckets_LL, hidden_from);
  return network_->final_norm->forward(hidden_BLD);
}

nlohmann::ordered_json to_json(const Umt5Config& config) {
  return {{"architectures", {"UMT5EncoderModel"}},
          {"model_type", "umt5"},
          {"feed_forward_proj", "gated-gelu"},
          {"vocab_size", config.vocab_size},
          {"d_model", config.d_model},
          {"d_kv", config.d_kv},
          {"d_ff", config.d_ff},
          {"num_layers", config.num_layers},
          {"num_heads", config.num_heads},
          {"relative_attention_num_buckets", config.relative_attention_num_buckets},
          {"relative_attention_max_distance", config.relative_attention_max_distance},
          {"layer_norm_epsilon", config.layer_norm_epsilon}};
}

}  // namespace zoetrope
