#include "zoetrope/models/wan/wan_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/models/pipeline_export.h"
#include "zoetrope/models/wan/wan_conditions.h"
#include "zoetrope/networks/lora/lora_file.h"
#include "zoetrope/networks/umt5/text_embedding.h"
#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"

namespace zoetrope {

WanTransformerConfig read_network_config(const WanModelConfig& config) {
  return read_wan_transformer_config(resolve_model_path(config.init_from) / "transformer" /
                                     "config.json");
}

void WanModelConfig::describe(config::Schema<WanModelConfig>& schema) {
  schema.required(
      "init_from", &WanModelConfig::init_from,
      "Pipeline folder in Diffusers layout, or a Hugging Face name that is in the local cache.");
  schema.field("trainable", &WanModelConfig::trainable,
               "Whether the role gets gradients and an optimizer.");
  schema.field("flow_shift", &WanModelConfig::flow_shift,
               "Shift of this role's noise table: the density of SFT timesteps and the grid of "
               "add_noise. Not the same "
               "as pipeline.flow_shift.",
               config::greater_than(0.0));
  schema.field("enable_gradient_checkpointing_type",
               &WanModelConfig::enable_gradient_checkpointing_type,
               "`full` recomputes every block in the backward pass; null uses "
               "training.model.enable_gradient_checkpointing_type.",
               config::one_of({"full", "block_skip"}, {"ops"}));
  schema.field("transformer_override_safetensor", &WanModelConfig::transformer_override_safetensor,
               "Safetensors file or folder whose weights replace those of init_from; named as in "
               "Diffusers, the original Wan release, ComfyUI or FastVideo.");
  schema.field("lora", &WanModelConfig::lora,
               "Low-rank adapters that are trained instead of the network's own weights.");
  schema.check([](const WanModelConfig& model, const config::Node& node,
                  const config::ReadContext& context) {
    if (!model.lora.enable || model.trainable) return;
    config::refuse(node, {context.issues, config::child_path(context.path, "lora.enable")},
                   "must be false for a role with trainable: false, but got true");
  });
  schema.without_effect("disable_custom_init_weights",
                        "there are no custom initial weights to disable");
  schema.without_effect("attention_backend", "the attention kernel is chosen by the device");
}

WanModel::WanModel(const WanModelConfig& config, const ModelContext& context)
    : WanModel(config, context, read_network_config(config)) {}

WanModel::WanModel(const WanModelConfig& config, const ModelContext& context,
                   const WanTransformerConfig& network)
    : config_(config),
      context_(context),
      pipeline_folder_(resolve_model_path(config.init_from)),
      weights_(config.transformer_override_safetensor.value_or(
          (pipeline_folder_ / "transformer").string())),
      transformer_(network, parameter_options(context, config.trainable && !config.lora.enable),
                   context.mesh->tensor),
      noise_schedule_(make_training_schedule(config.flow_shift, context.device)) {
  transformer_.set_sequence_group(context.mesh->sequence);
  ParameterStore& parameters = transformer_.parameters();
  parameters.load(
      load_wan_weights(weights_, parameters.whole_specs(), wan_transformer_unused_specs(network)));
  connect_parameters(parameters, context);
  if (config.lora.enable) add_adapters();
  const auto& checkpointing = config.enable_gradient_checkpointing_type
                                  ? config.enable_gradient_checkpointing_type
                                  : context.gradient_checkpointing;
  if (config.trainable && checkpointing) transformer_.set_checkpointing(Checkpointing::kFull);
}

void WanModel::add_adapters() {
  LoraAdapters& adapters = transformer_.add_adapters(config_.lora.options());
  connect_parameters(adapters.parameters(), context_);
  if (config_.lora.init_from) {
    load_lora_weights(adapters, read_lora_file(*config_.lora.init_from), *config_.lora.init_from);
  } else {
    adapters.initialize(*context_.random);
  }
}

ParameterStore& WanModel::parameters() {
  LoraAdapters* adapters = transformer_.adapters();
  return adapters != nullptr ? adapters->parameters() : transformer_.parameters();
}

std::vector<ParameterStore*> WanModel::parameter_stores() {
  std::vector<ParameterStore*> stores = {&transformer_.parameters()};
  if (LoraAdapters* adapters = transformer_.adapters()) stores.push_back(&adapters->parameters());
  return stores;
}

void WanModel::init_preprocessors() {
  latent_scale_.emplace(read_wan_vae_config(pipeline_folder_ / "vae"), context_.device);
}

void WanModel::encode_negative_prompt() {
  if (negative_text_1LD_.defined() || !transformer_.config().has_text()) return;
  const TextEmbedder embedder({pipeline_folder_ / "tokenizer", pipeline_folder_ / "text_encoder",
                               context_.device, at::kFloat});
  set_negative_text(pad_text_embeddings({embedder.embed(kWanNegativePrompt)}));
}

void WanModel::set_negative_text(const at::Tensor& text_1LD) {
  negative_text_1LD_ = text_1LD.to(context_.device, context_.compute_dtype);
}

at::Tensor WanModel::clean_latents_BTCHW(const Batch& raw, LatentsSource source) const {
  const int64_t num_frames = context_.num_latent_frames;
  if (source == LatentsSource::kZeros) {
    constexpr int64_t kSpatialCompression = 8;
    return at::zeros(
        {raw.batch_size(), num_frames, transformer_.config().out_channels,
         context_.num_height / kSpatialCompression, context_.num_width / kSpatialCompression},
        at::TensorOptions().device(context_.device));
  }
  if (!raw.vae_latent_BCTHW.defined()) {
    fail<ConfigError>(
        "training.data.preprocessed_data_type: must be one with videos, since this method trains "
        "on latents, but is {}",
        data_type());
  }
  const at::Tensor latents_BCTHW = raw.vae_latent_BCTHW.narrow(2, 0, num_frames)
                                       .to(context_.device, at::kFloat, /*non_blocking=*/true);
  return latent_scale_->normalize(latents_BCTHW).transpose(1, 2).contiguous();
}

std::string WanModel::data_type() const {
  return transformer_.config().is_game ? "matrixgame2" : context_.data_type;
}

TrainingBatch WanModel::prepare_batch(const Batch& raw, LatentsSource source) {
  TrainingBatch batch;
  batch.sample_indices = raw.sample_indices;
  for (const SampleInfo& info : raw.info) batch.sample_names.push_back(info.id);
  batch.latents_BTCHW = clean_latents_BTCHW(raw, source);
  if (source == LatentsSource::kData) {
    batch.data_latents_BTCHW = batch.latents_BTCHW;
  } else if (raw.vae_latent_BCTHW.defined() &&
             raw.vae_latent_BCTHW.size(2) >= context_.num_latent_frames) {
    batch.data_latents_BTCHW = clean_latents_BTCHW(raw, LatentsSource::kData);
  }
  draw_noise_and_timesteps(batch);
  batch.conditional =
      read_conditions(transformer_.config(), raw,
                      {context_.num_latent_frames, context_.device, context_.compute_dtype});
  if (!transformer_.config().has_text()) {
    batch.unconditional = batch.conditional;  // nothing stands against the image and the actions
  } else if (negative_text_1LD_.defined()) {
    batch.unconditional = batch.conditional;
    batch.unconditional.text_embedding_BLD = negative_text_1LD_.expand({raw.batch_size(), -1, -1});
    batch.unconditional.text_attention_mask_BL = at::Tensor();
  }
  return batch;
}

void WanModel::draw_noise_and_timesteps(TrainingBatch& batch) const {
  const auto shape = batch.latents_BTCHW.sizes();
  // Drawn on the CPU so that every device sees the same noise; in the order and layout of the
  // reference.
  const at::Tensor noise_BCTHW = context_.random->normal(
      {"noise", batch.sample_indices}, {shape[0], shape[2], shape[1], shape[3], shape[4]});
  batch.noise_BTCHW =
      noise_BCTHW.to(context_.device, /*non_blocking=*/true).transpose(1, 2).contiguous();
  const DrawKey key{"timestep", batch.sample_indices};
  const at::Tensor draws_B = context_.timestep_density.density == TimestepDensity::kLogitNormal
                                 ? context_.random->normal(key, {shape[0]})
                                 : context_.random->uniform(key, {shape[0]});
  const at::Tensor index_B =
      position_to_index(timestep_positions(draws_B, context_.timestep_density),
                        noise_schedule_.size())
          .to(context_.device, /*non_blocking=*/true);
  batch.timesteps_B = noise_schedule_.timesteps().index_select(0, index_B);
  batch.sigmas_B = noise_schedule_.sigmas().index_select(0, index_B);
  const at::Tensor sigma = batch.sigmas_B.view({-1, 1, 1, 1, 1});
  batch.noisy_latents_BTCHW = (1.0 - sigma) * batch.latents_BTCHW + sigma * batch.noise_BTCHW;
}

WanTransformerInputs WanModel::network_inputs(const at::Tensor& noisy_BTCHW,
                                              const at::Tensor& timestep,
                                              const Conditioning& conditioning,
                                              int64_t start_frame) const {
  return conditioned_inputs(transformer_.config(), context_.compute_dtype,
                            noisy_BTCHW.transpose(1, 2), timestep, conditioning, start_frame);
}

at::Tensor WanModel::predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                   const Conditioning& conditioning) {
  return transformer_.forward(network_inputs(noisy_BTCHW, timestep, conditioning)).transpose(1, 2);
}

at::Tensor WanModel::predict_x0(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                const Conditioning& conditioning) {
  return velocity_to_clean(predict_noise(noisy_BTCHW, timestep, conditioning), noisy_BTCHW,
                           noise_schedule_.sigma_at(timestep));
}

at::Tensor WanModel::add_noise(const at::Tensor& clean_BTCHW, const at::Tensor& noise_BTCHW,
                               const at::Tensor& timestep) const {
  return noise_schedule_.add_noise(clean_BTCHW, noise_BTCHW, timestep);
}

int64_t WanModel::num_tokens(at::IntArrayRef latents_BTCHW_shape) const {
  int64_t patch_volume = 1;
  for (const int64_t size : transformer_.config().patch_size) patch_volume *= size;
  return latents_BTCHW_shape[0] * latents_BTCHW_shape[1] * latents_BTCHW_shape[3] *
         latents_BTCHW_shape[4] / patch_volume;
}

std::string WanModel::checkpoint_name(const std::string& name) const {
  const std::string renamed = to_fastvideo_name(name);
  // FastVideo's adapters are parameters of the layer itself: `to_q.lora_A`.
  constexpr std::string_view kWeight = ".weight";
  const bool adapter = renamed.ends_with(".lora_A.weight") || renamed.ends_with(".lora_B.weight");
  return adapter ? renamed.substr(0, renamed.size() - kWeight.size()) : renamed;
}

DenoisingNetwork WanModel::denoising_network() {
  return [this](const at::Tensor& noisy_BCTHW, const at::Tensor& timestep_B,
                const Conditioning& conditioning) {
    const at::NoGradGuard no_grad;
    return predict_noise(noisy_BCTHW.transpose(1, 2), timestep_B,
                         conditioning.to(context_.compute_dtype))
        .transpose(1, 2);
  };
}

void WanModel::export_pipeline(const std::filesystem::path& folder,
                               const NamedTensors& weights) const {
  if (config_.lora.enable) {
    const LoraOptions options = config_.lora.options();
    write_lora_file(folder, {options.rank, options.alpha, weights});
    return;
  }
  copy_pipeline_folder(pipeline_folder_, folder, "transformer");
  write_transformer_config(pipeline_folder_, folder, exported_config());
  NamedTensors tensors = weights;
  const WeightFolder source(weights_);
  for (const TensorSpec& spec : wan_transformer_unused_specs(transformer_.config())) {
    if (source.contains(spec.name)) tensors.emplace_back(spec.name, source.tensor(spec.name));
  }
  write_weight_folder(folder / "transformer", "diffusion_pytorch_model", tensors);
}

}  // namespace zoetrope
