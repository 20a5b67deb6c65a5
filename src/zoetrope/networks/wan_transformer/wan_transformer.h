// The Wan 2.1 video transformer, text to video and image to video, and its relatives that actions
// steer: a pure network from latents, timesteps and encoded conditions to a velocity. Knows no
// schedule, no text encoder, no files. Source: Wan (arXiv 2503.20314); tensor names and operations
// as Diffusers' WanTransformer3DModel and FastVideo's MatrixGame2WanModel.
// Legend: B batch, C channels, T latent frames, H W latent height and width, L condition tokens, N
// video tokens.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "zoetrope/networks/wan_transformer/fused_block.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"

namespace zoetrope {

struct WanTransformerInputs {
  at::Tensor hidden_BCTHW;  ///< noisy latents (with condition channels for image to video), any
                            ///< floating type
  at::Tensor timestep;      ///< fp32 in [0, 1000]: [B], per frame [B, T] or per token [B, N]
  at::Tensor text_BLE;  ///< text encoder output [B, L, text_dim], zero rows are attended to like
                        ///< any other; undefined for a network without text
  at::Tensor
      image_BLE;    ///< image encoder output [B, L, image_dim]; undefined for a network without
  Actions actions;  ///< of the whole clip, also in a streaming pass; without any, action modules
                    ///< are passed by
  /// Which keys which queries see, in tokens of [clean | hidden]; null means all. Not beside
  /// `streaming`.
  std::shared_ptr<const AttentionRegions> regions = nullptr;
  /// Teacher forcing: the clip without noise, as [B, C, T, H, W] in front of `hidden`; or
  /// undefined.
  at::Tensor clean_BCTHW = {};
  std::shared_ptr<StreamingPass> streaming = nullptr;  ///< frames of the past; null means none
  TextKeyValues* text_key_values = nullptr;  ///< borrowed; used where grad mode is off; or null
};

enum class Checkpointing {
  kNone,
  kFull,  ///< blocks keep only their input and are computed again in the backward pass
};

/// How blocks are computed.
enum class Implementation {
  kFastest,  ///< fused blocks where the device and the processor have them, plain ones elsewhere
  kPlain,    ///< ATen operations only
};

class WanTransformer {
 public:
  /// Parameters are zero until loaded or initialized. The layers are split over
  /// `tensor_group`, which may be null: its ranks call forward() together with the same inputs and
  /// return the same; parameters that are whole on every rank have the same gradient on each.
  /// Throws ConfigError as wan_transformer_parameter_specs.
  WanTransformer(WanTransformerConfig config, ParameterStore::Options options,
                 GroupPointer tensor_group = nullptr);
  WanTransformer(const WanTransformer&) = delete;  // blocks point into the network
  WanTransformer& operator=(const WanTransformer&) = delete;

  const WanTransformerConfig& config() const { return config_; }
  ParameterStore& parameters() { return parameters_; }
  const ParameterStore& parameters() const { return parameters_; }

  /// Adds low-rank adapters to the linear layers that `options` targets; forward() then uses them.
  /// They start at zero until initialized or loaded. Throws Error for a second time or when the
  /// network itself is trainable, ConfigError as LoraAdapters.
  LoraAdapters& add_adapters(const LoraOptions& options);
  /// Null without adapters.
  LoraAdapters* adapters() { return adapters_.get(); }

  void set_checkpointing(Checkpointing checkpointing) { checkpointing_ = checkpointing; }
  void set_implementation(Implementation implementation) { implementation_ = implementation; }
  /// From now on forward() is called by all ranks of `group` with the same inputs, each computes
  /// its part of the tokens, and all return the same. Parameters get the part of their gradient
  /// that the own tokens make, to be summed over the group; the gradient of hidden_BCTHW is whole
  /// on every rank, that of text and image is a part. Throws ConfigError as check_parallel_ranks.
  void set_sequence_group(GroupPointer group);
  /// Null when there was none.
  const GroupPointer& sequence_group() const { return sequence_group_; }
  const GroupPointer& tensor_group() const { return tensor_group_; }
  /// Every operation's output is passed to `observer` (only the plain, uncheckpointed
  /// implementation is then used).
  void set_observer(ActivationObserver observer) { observer_ = std::move(observer); }

  /// The predicted velocity [B, out_channels, T, H, W] in the compute type. Differentiable with
  /// respect to inputs and parameters when grad mode is on. Throws c10::Error when shapes do not
  /// fit.
  at::Tensor forward(const WanTransformerInputs& inputs);

 private:
  void build_blocks();
  void check_inputs(const WanTransformerInputs& inputs) const;
  at::Tensor patches_of(const at::Tensor& hidden_BCTHW) const;
  at::Tensor embed_patches(const at::Tensor& patches_BNE) const;
  bool uses_fused_blocks(const StreamingPass* streaming) const;
  void embed_text_tokens(const at::Tensor& text_BLE, bool merge_padding,
                         BlockContext& context) const;
  void embed_text_once(const WanTransformerInputs& inputs, BlockContext& context) const;
  std::shared_ptr<const ActionContext> action_context(const WanTransformerInputs& inputs,
                                                      const TokenGrid& grid) const;
  RotaryTables token_rotation(const WanTransformerInputs& inputs, TokenGrid grid);
  at::Tensor run(const WanTransformerInputs& inputs);
  at::Tensor run_blocks(at::Tensor hidden_BND, const BlockContext& context);
  at::Tensor run_block(size_t index, const at::Tensor& hidden_BND, const BlockContext& context,
                       bool recompute);
  at::Tensor output_head(const at::Tensor& hidden_BND, const at::Tensor& time_BMD) const;
  at::Tensor latents_of(const at::Tensor& patches_BNE, const TokenGrid& grid) const;
  const RotaryTables& rotary_tables(const TokenGrid& grid);
  at::Tensor observe(const char* name, const at::Tensor& value) const;

  WanTransformerConfig config_;
  GroupPointer tensor_group_;
  ParameterStore parameters_;
  std::unique_ptr<LoraAdapters> adapters_;
  std::vector<BlockParameters> blocks_;
  std::vector<FusedBlock> fused_blocks_;  ///< empty where they are not supported
  LinearParameters output_projection_;
  Checkpointing checkpointing_ = Checkpointing::kNone;
  Implementation implementation_ = Implementation::kFastest;
  ActivationObserver observer_;
  GroupPointer sequence_group_;
  std::optional<TokenGrid> rotary_grid_;
  RotaryTables rotary_;
};

}  // namespace zoetrope
