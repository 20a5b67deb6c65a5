#include "zoetrope/networks/wan_transformer/streaming_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace zoetrope {
namespace {

struct Stream {
  Stream(WanTransformer& wan, const CausalAttention& attention, int64_t max_frames)
      : network(wan), cache("sampling cache", wan.config(), attention, max_frames) {}

  /// `text` in the network's type; the same tensor for the same text, whose keys are then kept.
  const at::Tensor& compute_text(const at::Tensor& text_BLD) {
    if (!given_text.is_same(text_BLD)) {
      given_text = text_BLD;
      text = text_BLD.to(network.parameters().options().compute_dtype);
    }
    return text;
  }

  WanTransformer& network;
  KeyValueCache cache;
  at::Tensor given_text;
  at::Tensor text;
};

}  // namespace

StreamingNetwork make_streaming_network(WanTransformer& network, const CausalAttention& attention,
                                        int64_t max_frames) {
  const auto stream = std::make_shared<Stream>(network, attention, max_frames);
  StreamingNetwork functions;
  functions.num_frames_per_block = attention.num_frames_per_block;
  functions.start_clip = [stream] { stream->cache.clear(); };
  functions.velocity = [stream](const at::Tensor& noisy_BCTHW, const at::Tensor& timestep_B,
                                const Conditioning& conditioning, const ChunkOptions& chunk) {
    const at::NoGradGuard no_grad;
    WanTransformerInputs inputs;
    inputs.hidden_BCTHW = noisy_BCTHW.to(stream->network.parameters().options().compute_dtype);
    inputs.timestep = timestep_B.unsqueeze(1).expand({noisy_BCTHW.size(0), noisy_BCTHW.size(2)});
    inputs.text_BLE = stream->compute_text(conditioning.text_embedding_BLD);
    return streaming_forward(stream->network, std::move(inputs), stream->cache, chunk);
  };
  return functions;
}

}  // namespace zoetrope
