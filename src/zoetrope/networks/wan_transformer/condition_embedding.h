// Embeddings of what conditions a Wan transformer: timestep, text tokens and image tokens. Pure
// functions over the `condition_embedder.*` parameters. Source: Diffusers'
// WanTimeTextImageEmbedding (sinusoid: cosines first, frequencies 10000^(-i / half)).
#pragma once

#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

/// Called with the Diffusers path and the output of each operation of the plain forward pass; for
/// tests and debugging.
using ActivationObserver = std::function<void(const std::string& name, const at::Tensor& value)>;

/// What the blocks and the output head take from the timesteps.
struct TimeEmbedding {
  at::Tensor
      embedding_BMD;  ///< compute type; M timesteps per sample: 1, one per frame, or one per token
  at::Tensor modulation_BM6D;  ///< compute type; shift, scale, gate of the self attention, then of
                               ///< the feed-forward
};

/// The sinusoidal embedding of `timesteps` (any shape, fp32): [..., channels], cosines first.
at::Tensor sinusoidal_embedding(const at::Tensor& timesteps, int64_t channels);

/// `timestep_BM`: fp32 in [0, 1000].
TimeEmbedding embed_timesteps(const ParameterStore& parameters, const WanTransformerConfig& config,
                              const at::Tensor& timestep_BM,
                              const ActivationObserver& observer = nullptr);

/// How many tokens at the end of contiguous text_BLE (on the CPU) are zero in every sample.
int64_t count_padding_tokens(const at::Tensor& text_BLE);

/// [B, L, text_dim] -> [B, L, D] in the compute type.
at::Tensor embed_text(const ParameterStore& parameters, const at::Tensor& text_BLE,
                      const ActivationObserver& observer = nullptr);

/// [B, L, image_dim] -> [B, L, D] in the compute type.
at::Tensor embed_image(const ParameterStore& parameters, const at::Tensor& image_BLE,
                       const ActivationObserver& observer = nullptr);

}  // namespace zoetrope
