#include "zoetrope/networks/clip_vision/clip_vision_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/clip_vision/clip_vision_layers.h"
#include "zoetrope/networks/component_config.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

// Published files have this prefix; transformers 5 writes the same names without it.
constexpr std::string_view kPrefix = "vision_model.";

std::vector<std::string> names_without_use() {
  return {"vision_model.embeddings.position_ids", "embeddings.position_ids",
          "visual_projection.weight"};
}

std::string layer_name(int64_t index) {
  return fmt::format("{}encoder.layers.{}", kPrefix, index);
}

std::vector<TensorSpec> without_prefix(std::vector<TensorSpec> specs) {
  for (TensorSpec& spec : specs) spec.name.erase(0, kPrefix.size());
  return specs;
}

NamedTensors load_weights(const WeightFolder& folder, const std::vector<TensorSpec>& specs) {
  if (folder.contains(specs.front().name)) return folder.load_strict(specs, names_without_use());
  if (!folder.contains(specs.front().name.substr(kPrefix.size()))) {
    return folder.load_strict(specs, names_without_use());  // says what is missing
  }
  NamedTensors tensors = folder.load_strict(without_prefix(specs), names_without_use());
  for (auto& [name, tensor] : tensors) name.insert(0, kPrefix);
  return tensors;
}

}  // namespace

ClipVisionConfig read_clip_vision_config(const std::filesystem::path& image_encoder_folder) {
  const ComponentConfig file(image_encoder_folder / "config.json");
  ClipVisionConfig config;
  const auto model_type = file.get_or<std::string>("model_type", "clip_vision_model");
  config.hidden_act = file.get_or("hidden_act", config.hidden_act);
  const bool known_act = config.hidden_act == "gelu" || config.hidden_act == "quick_gelu";
  if (model_type != "clip_vision_model" || !known_act) {
    fail<CheckpointError>(
        "{}: must be a 'clip_vision_model' with 'gelu' or 'quick_gelu', but is '{}' with '{}'",
        file.where(), model_type, config.hidden_act);
  }
  config.hidden_size = file.get_or("hidden_size", config.hidden_size);
  config.intermediate_size = file.get_or("intermediate_size", config.intermediate_size);
  config.num_hidden_layers = file.get_or("num_hidden_layers", config.num_hidden_layers);
  config.num_attention_heads = file.get_or("num_attention_heads", config.num_attention_heads);
  config.num_channels = file.get_or("num_channels", config.num_channels);
  config.image_size = file.get_or("image_size", config.image_size);
  config.patch_size = file.get_or("patch_size", config.patch_size);
  config.layer_norm_eps = file.get_or("layer_norm_eps", config.layer_norm_eps);
  if (config.num_attention_heads < 1 || config.hidden_size % config.num_attention_heads != 0 ||
      config.num_hidden_layers < 1 || config.patch_size < 1 ||
      config.image_size < config.patch_size) {
    fail<CheckpointError>(
        "{}: hidden_size must be a multiple of num_attention_heads, image_size at least "
        "patch_size, and num_hidden_layers at least 1, but they are {} and {}, {} and {}, and {}",
        file.where(), config.hidden_size, config.num_attention_heads, config.image_size,
        config.patch_size, config.num_hidden_layers);
  }
  return config;
}

// Without the last layer, whose result nothing uses.
struct ClipVisionEncoder::Network {
  Network(WeightSource& weights, const ClipVisionConfig& config)
      : embeddings(weights, fmt::format("{}embeddings", kPrefix), config),
        first_norm(weights, fmt::format("{}pre_layrnorm", kPrefix), config) {
    for (int64_t i = 0; i + 1 < config.num_hidden_layers; ++i) {
      layers.emplace_back(weights, layer_name(i), config);
    }
  }

  clip_vision::Embeddings embeddings;
  clip_vision::LayerNorm first_norm;
  std::vector<clip_vision::Layer> layers;
};

std::vector<TensorSpec> ClipVisionEncoder::weight_specs(const ClipVisionConfig& config) {
  SpecRecorder recorder;
  const Network network(recorder, config);
  const clip_vision::Layer last_layer(recorder, layer_name(config.num_hidden_layers - 1), config);
  const clip_vision::LayerNorm last_norm(recorder, fmt::format("{}post_layernorm", kPrefix),
                                         config);
  return recorder.specs();
}

ClipVisionEncoder::ClipVisionEncoder(const std::filesystem::path& image_encoder_folder,
                                     at::Device device, at::ScalarType dtype)
    : config_(read_clip_vision_config(image_encoder_folder)), device_(device), dtype_(dtype) {
  if (dtype != at::kFloat && dtype != at::kBFloat16) {
    fail<Error>("CLIP: the type must be fp32 or bf16, but is {}", dtype_name(dtype));
  }
  const WeightFolder folder(image_encoder_folder);
  LoadedWeights weights(load_weights(folder, weight_specs(config_)), device, dtype);
  network_ = std::make_unique<const Network>(weights, config_);
}

ClipVisionEncoder::~ClipVisionEncoder() = default;
ClipVisionEncoder::ClipVisionEncoder(ClipVisionEncoder&&) noexcept = default;
ClipVisionEncoder& ClipVisionEncoder::operator=(ClipVisionEncoder&&) noexcept = default;

at::Tensor ClipVisionEncoder::encode(const at::Tensor& pixels_BCHW) const {
  const c10::NoGradGuard no_gradients;
  const int64_t side = config_.image_size;
  if (pixels_BCHW.dim() != 4 || pixels_BCHW.size(1) != config_.num_channels ||
      pixels_BCHW.size(2) != side || pixels_BCHW.size(3) != side) {
    fail<DataError>("CLIP: pixels must be [B, {}, {}, {}], but have shape {}", config_.num_channels,
                    side, side, format_shape(pixels_BCHW.sizes()));
  }
  at::Tensor hidden_BLD =
      network_->first_norm.forward(network_->embeddings.forward(pixels_BCHW.to(device_, dtype_)));
  for (const clip_vision::Layer& layer : network_->layers) hidden_BLD = layer.forward(hidden_BLD);
  return hidden_BLD;
}

nlohmann::ordered_json to_json(const ClipVisionConfig& config) {
  return {{"architectures", {"CLIPVisionModel"}},
          {"model_type", "clip_vision_model"},
          {"hidden_act", config.hidden_act},
          {"hidden_size", config.hidden_size},
          {"image_size", config.image_size},
          {"intermediate_size", config.intermediate_size},
          {"layer_norm_eps", config.layer_norm_eps},
          {"num_attention_heads", config.num_attention_heads},
          {"num_channels", config.num_channels},
          {"num_hidden_layers", config.num_hidden_layers},
          {"patch_size", config.patch_size}};
}

}  // namespace zoetrope
