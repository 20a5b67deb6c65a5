#include "zoetrope/networks/random_pipeline.h"

#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"
#include "zoetrope/tensor/random_source.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

PipelineSize tiny_size() {
  PipelineSize size{"tiny", "a few million parameters, for tests and the quickstart", {}, {}, {},
                    3.0};
  size.transformer.num_attention_heads = 4;
  size.transformer.attention_head_dim = 32;
  size.transformer.ffn_dim = 256;
  size.transformer.num_layers = 5;
  size.transformer.text_dim = 64;
  size.vae.base_dim = size.vae.decoder_base_dim = 8;
  size.vae.num_res_blocks = 1;
  size.text_encoder = {
      .vocab_size = 2700, .d_model = 64, .d_kv = 16, .d_ff = 128, .num_layers = 2, .num_heads = 4};
  return size;
}

ClipVisionConfig tiny_image_encoder() {
  return {.hidden_size = 64,
          .intermediate_size = 128,
          .num_hidden_layers = 3,
          .num_attention_heads = 4,
          .image_size = 56,
          .patch_size = 14,
          .hidden_act = "gelu"};
}

// CLIP ViT-H/14.
ClipVisionConfig wan_image_encoder() {
  return {.hidden_size = 1280,
          .intermediate_size = 5120,
          .num_hidden_layers = 32,
          .num_attention_heads = 16,
          .patch_size = 14,
          .hidden_act = "gelu"};
}

PipelineSize tiny_image_to_video() {
  PipelineSize size = tiny_size();
  size.name = "tiny-i2v";
  size.doc = "as tiny, image to video";
  size.image_encoder = tiny_image_encoder();
  size.transformer.in_channels = 36;
  size.transformer.image_dim = size.image_encoder->hidden_size;
  size.transformer.added_kv_proj_dim = size.transformer.width();
  return size;
}

PipelineSize text_to_video_1_3b() {
  PipelineSize size{"wan2.1-t2v-1.3b", "Wan2.1-T2V-1.3B", {}, {}, {}, 3.0};
  size.transformer.num_attention_heads = 12;
  size.transformer.ffn_dim = 8960;
  size.transformer.num_layers = 30;
  return size;
}

PipelineSize image_to_video_14b() {
  PipelineSize size{"wan2.1-i2v-14b", "Wan2.1-I2V-14B", {}, {}, {}, 5.0};
  size.transformer.in_channels = 36;
  size.transformer.image_dim = 1280;
  size.transformer.added_kv_proj_dim = 5120;
  size.image_encoder = wan_image_encoder();
  return size;
}

PipelineSize tiny_game() {
  PipelineSize size = tiny_size();
  size.name = "tiny-game";
  size.doc = "a few million parameters, steered by keyboard and mouse, for tests and toy games";
  size.transformer.is_game = true;
  size.transformer.in_channels = 36;
  size.transformer.text_dim = 0;
  size.image_encoder = tiny_image_encoder();
  size.transformer.image_dim = size.image_encoder->hidden_size;
  size.transformer.action = {.blocks = {0, 1, 2, 3, 4},
                             .heads_num = 4,
                             .hidden_size = 16,
                             .keyboard_hidden_dim = 128,
                             .mouse_hidden_dim = 128,
                             .mouse_qk_dim_list = {8, 12, 12}};
  return size;
}

PipelineSize matrix_game_2() {
  PipelineSize size = text_to_video_1_3b();
  size.name = "matrix-game-2";
  size.doc = "Matrix-Game 2.0";
  size.transformer.is_game = true;
  size.transformer.in_channels = 36;
  size.transformer.text_dim = 0;
  size.transformer.image_dim = 1280;
  size.image_encoder = wan_image_encoder();
  size.transformer.action = ActionConfig();
  return size;
}

// Norm scales 1, biases 0, everything else uniform with PyTorch's default bound 1 / sqrt(fan in).
at::Tensor plain_initial_value(const TensorSpec& spec, RandomSource& random) {
  if (spec.name.ends_with(".bias")) return at::zeros(spec.shape);
  if (spec.name.ends_with(".gamma") || spec.shape.size() == 1) return at::ones(spec.shape);
  const int64_t fan_in = c10::multiply_integers(at::IntArrayRef(spec.shape).slice(1));
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  return random.uniform({"init." + spec.name, {}, 0}, spec.shape).mul_(2 * bound).sub_(bound);
}

std::vector<TensorSpec> transformer_specs(const WanTransformerConfig& config) {
  std::vector<TensorSpec> specs;
  for (const ParameterGroupSpec& group : wan_transformer_parameter_specs(config)) {
    specs.insert(specs.end(), group.parameters.begin(), group.parameters.end());
  }
  return specs;
}

template <class InitialValue>
std::vector<PendingTensor> pending_tensors(const std::vector<TensorSpec>& specs,
                                           c10::ScalarType dtype,
                                           const InitialValue& initial_value) {
  std::vector<PendingTensor> tensors;
  tensors.reserve(specs.size());
  for (const TensorSpec& spec : specs)
    tensors.push_back({spec, dtype, [=] { return initial_value(spec).to(dtype); }});
  return tensors;
}

void write_json(const fs::path& path, const ordered_json& object) {
  fs::create_directories(path.parent_path());
  write_file_atomically(path, object.dump(2) + "\n");
}

void write_component(const fs::path& folder, const std::string& component, const PipelineSize& size,
                     const RandomPipelineOptions& options) {
  const auto random = std::make_shared<KeyedRandomSource>(options.seed);
  const auto plain = [random](const TensorSpec& spec) {
    return plain_initial_value(spec, *random);
  };
  if (component == "transformer") {
    write_json(folder / component / "config.json", to_json(size.transformer));
    const auto wan = [random](const TensorSpec& spec) {
      return wan_transformer_initial_value(spec, *random);
    };
    write_weight_folder(folder / component, "diffusion_pytorch_model",
                        pending_tensors(transformer_specs(size.transformer), options.dtype, wan));
  } else if (component == "vae") {
    write_json(folder / component / "config.json", to_json(size.vae));
    write_weight_folder(folder / component, "diffusion_pytorch_model",
                        pending_tensors(WanVae::weight_specs(size.vae), options.dtype, plain));
  } else if (component == "text_encoder") {
    write_json(folder / component / "config.json", to_json(size.text_encoder));
    write_weight_folder(
        folder / component, "model",
        pending_tensors(Umt5Encoder::weight_specs(size.text_encoder), options.dtype, plain));
  } else if (component == "image_encoder" && size.image_encoder) {
    const ClipVisionConfig& encoder = *size.image_encoder;
    write_json(folder / component / "config.json", to_json(encoder));
    write_weight_folder(
        folder / component, "model",
        pending_tensors(ClipVisionEncoder::weight_specs(encoder), options.dtype, plain));
    const auto side = static_cast<int>(encoder.image_size);
    write_json(folder / "image_processor" / "preprocessor_config.json",
               to_json(ClipImageProcessorConfig{
                   .shortest_edge = side, .crop_height = side, .crop_width = side}));
  } else {
    fail<ConfigError>(
        "init: components of {} must be of transformer, vae, text_encoder{}, but got '{}'",
        size.name, size.image_encoder ? ", image_encoder" : "", component);
  }
}

}  // namespace

const std::vector<PipelineSize>& pipeline_sizes() {
  static const std::vector<PipelineSize> sizes = {
      tiny_size(),          tiny_image_to_video(),
      text_to_video_1_3b(), {"wan2.1-t2v-14b", "Wan2.1-T2V-14B", {}, {}, {}, 5.0},
      image_to_video_14b(), tiny_game(),
      matrix_game_2()};
  return sizes;
}

void write_random_pipeline(const fs::path& folder, const PipelineSize& size,
                           const RandomPipelineOptions& options) {
  if (fs::exists(folder) && !fs::is_empty(folder)) {
    fail<CheckpointError>("{}: must not exist or be empty, but holds files; choose another folder",
                          folder.string());
  }
  const bool image_to_video = size.transformer.has_image_branch();
  ordered_json index = {
      {"_class_name", image_to_video ? "WanImageToVideoPipeline" : "WanPipeline"}};
  if (size.transformer.is_game) index["_class_name"] = "MatrixGamePipeline";
  index["scheduler"] = {"diffusers", "UniPCMultistepScheduler"};
  for (const std::string& component : options.components) {
    write_component(folder, component, size, options);
    if (component == "transformer") index[component] = {"diffusers", class_name(size.transformer)};
    if (component == "vae") index[component] = {"diffusers", "AutoencoderKLWan"};
    if (component == "text_encoder") index[component] = {"transformers", "UMT5EncoderModel"};
    if (component == "image_encoder") {
      index[component] = {"transformers", "CLIPVisionModel"};
      index["image_processor"] = {"transformers", "CLIPImageProcessor"};
    }
  }
  write_json(folder / "scheduler" / "scheduler_config.json",
             {{"_class_name", "UniPCMultistepScheduler"},
              {"num_train_timesteps", 1000},
              {"prediction_type", "flow_prediction"},
              {"use_flow_sigmas", true},
              {"flow_shift", size.flow_shift},
              {"solver_order", 2},
              {"solver_type", "bh2"}});
  // Last, so that a folder with an index is whole.
  write_json(folder / "model_index.json", index);
}

}  // namespace zoetrope
