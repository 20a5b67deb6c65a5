// Names and shapes of a Wan transformer's parameters, grouped for flat storage, and their initial
// values for training from scratch. Knows no forward pass. Source: names as in Diffusers'
// WanTransformer3DModel; initial values as in Wan 2.1's own WanModel.init_weights.
#pragma once

#include <vector>

#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/tensor/parameter_store.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {

/// One group per transformer block (`blocks.<i>`), then `root` for the embeddings and the output
/// head. Projections that read the same input are adjacent: to_q, to_k, to_v of the self attention;
/// to_k, to_v of the cross attention; add_k_proj, add_v_proj of the image branch; weights and
/// biases each. Of a network that is split over `tensor_ranks`, the parts that one of them holds:
/// heads and features of the feed-forward; embeddings, norms of the residual stream and the output
/// head are whole on each. Throws ConfigError when heads or features cannot be shared.
std::vector<ParameterGroupSpec> wan_transformer_parameter_specs(const WanTransformerConfig& config,
                                                                int64_t tensor_ranks = 1);

/// `patch_embedding`, which game networks publish as `patch_embedding.proj`.
std::string patch_embedding_name(const WanTransformerConfig& config);

/// Tensors that published files of such a network may hold and that nothing reads: those of the
/// image branch's queries, and the plain keys and values where only the image branch has any.
std::vector<TensorSpec> wan_transformer_unused_specs(const WanTransformerConfig& config);

/// The fp32 initial value of one parameter for training from scratch: Xavier-uniform linear weights
/// and patch embedding, N(0, 0.02) for the text and time embedders, scale_shift_table N(0,
/// 1/width), norm weights 1, biases and the output projection 0, as those of action modules. Its
/// numbers depend on the source's seed and its name alone.
at::Tensor wan_transformer_initial_value(const TensorSpec& spec, RandomSource& random);

/// Fills `parameters` with wan_transformer_initial_value, or this rank's parts of it.
void initialize_wan_transformer(ParameterStore& parameters, int64_t seed);

}  // namespace zoetrope
