#include "zoetrope/networks/wan_transformer/streaming_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"

namespace zoetrope {
namespace {

/// Tokens in the network's type; the same tensor for the same tokens, whose keys are then kept.
struct ConvertedTokens {
  const at::Tensor& to(at::ScalarType dtype, const at::Tensor& tokens) {
    if (!tokens.defined() || !given.is_same(tokens)) {
      given = tokens;
      converted = tokens.defined() ? tokens.to(dtype) : tokens;
    }
    return converted;
  }

  at::Tensor given;
  at::Tensor converted;
};

struct Stream {
  Stream(WanTransformer& wan, const CausalAttention& attention, int64_t cache_frames)
      : network(wan),
        cache("sampling cache", wan.config(), attention, cache_frames, wan.sequence_group(),
              wan.tensor_group()) {}

  WanTransformer& network;
  KeyValueCache cache;
  ConvertedTokens text;
  ConvertedTokens image;
};

}  // namespace

StreamingNetwork make_streaming_network(WanTransformer& network, const CausalAttention& attention,
                                        int64_t cache_frames) {
  const auto stream = std::make_shared<Stream>(network, attention, cache_frames);
  StreamingNetwork functions;
  functions.num_frames_per_block = attention.num_frames_per_block;
  functions.max_frames = max_streamed_frames(network.config(), attention);
  functions.start_clip = [stream] { stream->cache.clear(); };
  functions.velocity = [stream](const at::Tensor& noisy_BCTHW, const at::Tensor& timestep_B,
                                const Conditioning& conditioning, const ChunkOptions& chunk) {
    const at::NoGradGuard no_grad;
    const at::ScalarType dtype = stream->network.parameters().options().compute_dtype;
    const at::Tensor timestep_BT =
        timestep_B.unsqueeze(1).expand({noisy_BCTHW.size(0), noisy_BCTHW.size(2)});
    Conditioning converted = conditioning;
    converted.text_embedding_BLD = stream->text.to(dtype, conditioning.text_embedding_BLD);
    converted.image_embedding_BLD = stream->image.to(dtype, conditioning.image_embedding_BLD);
    WanTransformerInputs inputs = conditioned_inputs(stream->network.config(), dtype, noisy_BCTHW,
                                                     timestep_BT, converted, chunk.start_frame);
    return streaming_forward(stream->network, std::move(inputs), stream->cache, chunk);
  };
  return functions;
}

}  // namespace zoetrope
