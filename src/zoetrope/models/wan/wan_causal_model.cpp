#include "zoetrope/models/wan/wan_causal_model.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/base/log.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope {
namespace {

void log_unused(const char* key, const std::optional<int64_t>& checkpoint,
                const std::optional<int64_t>& run, const std::filesystem::path& folder) {
  if (!checkpoint || !run || *checkpoint == *run) return;
  log_info("{}: '{}' is {}, which is used; pipeline.dit_config.{}: {} is not",
           (folder / "transformer" / "config.json").string(), key, *checkpoint, key, *run);
}

CausalAttention attention_of(const WanCausalModelConfig& config, const ModelContext& context,
                             const WanTransformerConfig& network,
                             const std::filesystem::path& folder) {
  log_unused("local_attn_size", network.local_attn_size, context.local_attn_size, folder);
  log_unused("sink_size", network.sink_size, context.sink_size, folder);
  return training_attention(
      network, {config.num_frames_per_block, context.local_attn_size, context.sink_size});
}

/// A scalar or [B] as [B, T].
at::Tensor per_frame(const at::Tensor& timestep, const at::Tensor& noisy_BTCHW) {
  const at::Tensor row = timestep.dim() == 1 ? timestep.unsqueeze(1) : timestep;
  return row.expand({noisy_BTCHW.size(0), noisy_BTCHW.size(1)});
}

}  // namespace

void WanCausalModelConfig::describe(config::Schema<WanCausalModelConfig>& schema) {
  schema.inherit<WanModelConfig>();
  schema.field(
      "num_frames_per_block", &WanCausalModelConfig::num_frames_per_block,
      "Latent frames that see each other; every frame sees those before its block. Null is "
      "the checkpoint's own, or 3.",
      config::between(1, 3));
}

WanCausalModel::WanCausalModel(const WanCausalModelConfig& config, const ModelContext& context)
    : WanCausalModel(config, context, read_network_config(config)) {}

WanCausalModel::WanCausalModel(const WanCausalModelConfig& config, const ModelContext& context,
                               const WanTransformerConfig& network)
    : WanModel(config, context, network),
      attention_(attention_of(config, context, transformer().config(), pipeline_folder())),
      max_frames_(std::max(context.num_latent_frames,
                           transformer().config().sliding_window_num_frames.value_or(0))) {}

at::Tensor WanCausalModel::predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                         const Conditioning& conditioning) {
  return block_causal_forward(transformer(), network_inputs(noisy_BTCHW, timestep, conditioning),
                              attention_)
      .transpose(1, 2);
}

at::Tensor WanCausalModel::predict_noise_teacher_forced(const at::Tensor& noisy_BTCHW,
                                                        const at::Tensor& timestep,
                                                        const Conditioning& conditioning,
                                                        const at::Tensor& clean_BTCHW) {
  WanTransformerInputs inputs = network_inputs(noisy_BTCHW, timestep, conditioning);
  inputs.clean_BCTHW =
      network_inputs(clean_BTCHW, timestep, conditioning).hidden_BCTHW;  // the same image latents
  return block_causal_forward(transformer(), inputs, attention_).transpose(1, 2);
}

KeyValueCache& WanCausalModel::cache(const std::string& tag) {
  return caches_
      .try_emplace(tag, fmt::format("cache '{}' of {}", tag, pipeline_folder().string()),
                   transformer().config(), attention_, max_frames_, transformer().sequence_group(),
                   transformer().tensor_group())
      .first->second;
}

void WanCausalModel::clear_caches(const std::string& cache_tag) {
  const auto found = caches_.find(cache_tag);
  if (found != caches_.end()) found->second.clear();
}

StateDict WanCausalModel::cache_state(const std::string& cache_tag) const {
  const auto found = caches_.find(cache_tag);
  return found != caches_.end() ? found->second.state_dict() : StateDict();
}

void WanCausalModel::load_cache_state(const std::string& cache_tag, const StateDict& state,
                                      const Conditioning& conditioning) {
  const ParameterStore::Options& store = transformer().parameters().options();
  const at::Tensor& tokens_BLE = transformer().config().has_text()
                                     ? conditioning.text_embedding_BLD
                                     : conditioning.image_embedding_BLD;
  cache(cache_tag).load_state_dict(
      state, tokens_BLE, at::TensorOptions().device(store.device).dtype(store.compute_dtype));
}

at::Tensor WanCausalModel::predict_noise_streaming(const at::Tensor& noisy_BTCHW,
                                                   const at::Tensor& timestep,
                                                   const Conditioning& conditioning,
                                                   const StreamingOptions& options) {
  return streaming_forward(transformer(),
                           network_inputs(noisy_BTCHW, per_frame(timestep, noisy_BTCHW),
                                          conditioning, options.cur_start_frame),
                           cache(options.cache_tag), {options.cur_start_frame, options.store_kv})
      .transpose(1, 2);
}

at::Tensor WanCausalModel::predict_x0_streaming(const at::Tensor& noisy_BTCHW,
                                                const at::Tensor& timestep,
                                                const Conditioning& conditioning,
                                                const StreamingOptions& options) {
  const at::Tensor frame_timesteps_BT = per_frame(timestep, noisy_BTCHW);
  return velocity_to_clean(
      predict_noise_streaming(noisy_BTCHW, frame_timesteps_BT, conditioning, options), noisy_BTCHW,
      noise_schedule().sigma_at(frame_timesteps_BT));
}

WanTransformerConfig WanCausalModel::exported_config() const {
  return with_attention(WanModel::exported_config(), attention_);
}

StreamingNetwork WanCausalModel::streaming_network(int64_t num_frames) {
  return make_streaming_network(transformer(), attention_, num_frames);
}

}  // namespace zoetrope
