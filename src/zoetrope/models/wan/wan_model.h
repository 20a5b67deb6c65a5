// WanModel: the bidirectional Wan 2.1 text-to-video transformer as a role, and what every role with
// a network of this kind shares. Source: FastVideo train/models/wan/wan.py.
#pragma once

#include <optional>

#include "zoetrope/config/schema.h"
#include "zoetrope/models/lora_config.h"
#include "zoetrope/models/model.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"
#include "zoetrope/networks/wan_vae/wan_vae_config.h"

namespace zoetrope {

/// `models.<role>` of a Wan model.
struct WanModelConfig {
  std::string init_from;
  bool trainable = true;
  double flow_shift = 3.0;
  std::optional<std::string> enable_gradient_checkpointing_type;
  std::optional<std::string> transformer_override_safetensor;
  LoraConfig lora;
  static void describe(config::Schema<WanModelConfig>& schema);
};

/// The `transformer/config.json` of `init_from`. Throws as read_wan_transformer_config.
WanTransformerConfig read_network_config(const WanModelConfig& config);

class WanModel : public virtual ModelBase {
 public:
  /// Reads `<init_from>/transformer` and, with LoRA, makes or reads the adapters. Throws
  /// CheckpointError for missing, unexpected or wrongly shaped tensors, ConfigError when LoRA
  /// targets no layer or the ranks of the context's sequence group cannot share the heads.
  WanModel(const WanModelConfig& config, const ModelContext& context);

  WanTransformer& transformer() { return transformer_; }

  bool trainable() const override { return config_.trainable; }
  /// What training changes: the network's parameters, or with LoRA those of the adapters.
  ParameterStore& parameters() override;
  std::vector<ParameterStore*> parameter_stores() override;
  const std::filesystem::path& pipeline_folder() const override { return pipeline_folder_; }
  std::string source() const override { return config_.init_from; }
  void init_preprocessors() override;
  /// Does nothing when set_negative_text() was called before.
  void encode_negative_prompt() override;
  /// Gives the negative prompt's embedding [1, L, D] instead of encoding it.
  void set_negative_text(const at::Tensor& text_1LD);
  std::string data_type() const override;
  TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) override;
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override;
  at::Tensor predict_x0(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                        const Conditioning& conditioning) override;
  at::Tensor add_noise(const at::Tensor& clean_BTCHW, const at::Tensor& noise_BTCHW,
                       const at::Tensor& timestep) const override;
  int64_t num_tokens(at::IntArrayRef latents_BTCHW_shape) const override;
  std::string checkpoint_name(const std::string& name) const override;
  const FlowMatchSchedule& noise_schedule() const override { return noise_schedule_; }
  /// Whole clips, by predict_noise().
  DenoisingNetwork denoising_network() override;
  bool exports_adapters() const override { return config_.lora.enable; }
  /// With LoRA `weights` are the adapters, and `folder` receives only their file.
  void export_pipeline(const std::filesystem::path& folder,
                       const NamedTensors& weights) const override;

 protected:
  /// The same with a network of the shape `network`, whatever the folder's config.json says.
  WanModel(const WanModelConfig& config, const ModelContext& context,
           const WanTransformerConfig& network);

  /// Inputs in the network's type and layout, of the clip's frames from start_frame on.
  WanTransformerInputs network_inputs(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                      const Conditioning& conditioning,
                                      int64_t start_frame = 0) const;
  /// What an export's transformer/config.json says.
  virtual WanTransformerConfig exported_config() const { return transformer_.config(); }

 private:
  void add_adapters();
  void draw_noise_and_timesteps(TrainingBatch& batch) const;
  at::Tensor clean_latents_BTCHW(const Batch& raw, LatentsSource source) const;

  WanModelConfig config_;
  ModelContext context_;
  std::filesystem::path pipeline_folder_;
  std::filesystem::path weights_;  ///< folder or file that they were read from
  WanTransformer transformer_;
  FlowMatchSchedule noise_schedule_;
  std::optional<LatentScale> latent_scale_;  ///< set by init_preprocessors
  at::Tensor negative_text_1LD_;             ///< compute dtype; undefined unless asked for
};

}  // namespace zoetrope
